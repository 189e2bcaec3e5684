"""Settings of a server: defaults in code → a TOML file → MAIA_* environment → flags.

Each server subclasses `ServerSettings`; flags and their help are made of the fields, so that a setting has one name
and one description everywhere.
"""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from maia.wire.access import Access
from maia.wire.errors import InvalidRequestError
from maia.wire.limits import DRAIN_S, MAX_HELD_BYTES
from maia.wire.server import ServerOptions
from maia.wire.tls import ServerCredentials
from maia.wire.tokens import Quota, TokenFile
from maia.wire.toml_places import meant, place


class ServerSettings(BaseSettings):
    """What every server can be told."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    listen: str = Field(
        default="127.0.0.1:0",
        description="127.0.0.1:PORT (0: any free one), [::1]:PORT or unix:/path; with certificates any HOST:PORT",
    )
    drain_s: float = Field(
        default=DRAIN_S, ge=0, description="seconds that calls in flight may take after an order to stop"
    )
    announce: bool = Field(default=False, description="print one JSON line with the address once it serves")
    end_with_stdin: bool = Field(default=False, description="stop when standard input closes")
    requests_mb: int = Field(
        default=MAX_HELD_BYTES // 1_000_000,
        ge=1,
        description="megabytes of requests that wait or are answered at the same time; more are told to come back",
    )
    tls_cert: str = Field(
        default="", description="the server's certificate, a PEM file; with the next two: `maia certs` makes them"
    )
    tls_key: str = Field(default="", description="its private key, a PEM file")
    tls_client_ca: str = Field(default="", description="the CA that signed the certificates of clients, a PEM file")
    clients: str = Field(
        default="orchestrator",
        description="names of certificates, separated by commas, whose clients may call; * for all of the CA",
    )
    tokens: str = Field(default="", description="TOML file of those who may call, by token; `maia token` writes it")
    client_requests_per_s: float = Field(default=0, ge=0, description="calls a second of one client; 0 for no bound")
    client_concurrent: int = Field(default=0, ge=0, description="calls of one client at a time; 0 for no bound")
    client_request_mb: int = Field(
        default=0, ge=0, description="megabytes of one request of a client; 0 for the 64 MiB that a message may have"
    )
    reflection: bool = Field(default=False, description="tell clients which methods there are, for tools like grpcurl")
    metrics_listen: str = Field(
        default="", description="127.0.0.1:PORT where Prometheus finds what the server counts; nowhere if not given"
    )
    metrics_open: bool = Field(
        default=False, description="let metrics_listen be an address that other machines reach, in plain text"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is logged: debug, info, warning or error"
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="console, for people, or json, one object a line"
    )

    @property
    def options(self) -> ServerOptions:
        """The part that the gRPC runtime takes; reads the file of tokens.

        Raises:
            InvalidRequestError: SETTING_INVALID: certificates that lack one of their files, nobody who may call.
            PreconditionError: TOKENS_INVALID.
        """
        return ServerOptions(
            self.listen,
            self.drain_s,
            self.announce,
            self.end_with_stdin,
            self.requests_mb * 1_000_000,
            credentials=ServerCredentials.of(self.tls_cert, self.tls_key, self.tls_client_ca),
            access=self._access(),
            reflection=self.reflection,
        )

    def _access(self) -> Access:
        names = frozenset(name.strip() for name in self.clients.split(",") if name.strip())
        if not names:
            raise InvalidRequestError(
                "clients names nobody; give names of certificates, or * for all", reason="SETTING_INVALID"
            )
        return Access(
            tokens=TokenFile(Path(self.tokens).expanduser()) if self.tokens else None,
            certificates=None if "*" in names else names,
            quota=Quota(self.client_requests_per_s, self.client_concurrent, self.client_request_mb * 1_000_000),
        )

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags before the environment; neither a .env file nor a secrets folder."""
        return init_settings, env_settings


_Settings = TypeVar("_Settings", bound=ServerSettings)


def load_settings(kind: type[_Settings], name: str, arguments: Sequence[str], *, program: str) -> _Settings:
    """Read the settings of a server.

    Args:
        kind: The server's settings.
        name: Of the server; its table in the TOML file.
        arguments: Flags, without the program's name. `--help` prints and exits.
        program: How its help names it: "python -m maia.services.subject".

    Raises:
        InvalidRequestError: SETTING_INVALID: a value, the file or a name in it.
    """
    flags = vars(_parser(kind, name, program).parse_args(arguments))
    file = flags.pop("config", None) or os.environ.get("MAIA_CONFIG")
    text = _text(file)
    table = _table(file, text, name)
    _check_names(kind, file, text, name, table)
    try:
        return _with_file(kind, table)(**flags)
    except ValidationError as error:
        places = {key: place(file, text, (name, key)) for key in table if key not in flags}
        raise InvalidRequestError(_told(error, name, places), reason="SETTING_INVALID") from error


def _parser(kind: type[ServerSettings], name: str, program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description=kind.__doc__,
        epilog=f"Each may also be set as {kind.model_config.get('env_prefix', '')}NAME in the environment.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help=f"TOML file with a table [{name}] (or MAIA_CONFIG)")
    for field, info in kind.model_fields.items():
        flag = f"--{field.replace('_', '-')}"
        plain = info.default not in (False, None, (), "") and info.default is not PydanticUndefined
        shown = (
            f" (default: {','.join(info.default) if isinstance(info.default, tuple) else info.default})"
            if plain
            else ""
        )
        if info.annotation is bool:
            parser.add_argument(flag, action="store_true", help=info.description)
        else:
            parser.add_argument(flag, metavar="VALUE", help=f"{info.description}{shown}".replace("%", "%%"))
    return parser


def _text(path: str | None) -> str:
    if path is None:
        return ""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"the file {path} cannot be read: {error}", reason="SETTING_INVALID") from error


def _table(path: str | None, text: str, name: str) -> Mapping[str, Any]:
    try:
        table = tomllib.loads(text).get(name, {})
    except ValueError as error:
        raise InvalidRequestError(f"the file {path} is no TOML: {error}", reason="SETTING_INVALID") from error
    if not isinstance(table, dict):
        raise InvalidRequestError(f"in the file {path}, {name} is no table", reason="SETTING_INVALID")
    return table


def _check_names(kind: type[ServerSettings], path: str | None, text: str, name: str, table: Mapping[str, Any]) -> None:
    for key in table:
        if key not in kind.model_fields:
            raise InvalidRequestError(
                f"{place(path, text, (name, key))}: the table [{name}] has no setting {key!r}; "
                f"{meant(key, kind.model_fields)}",
                reason="SETTING_INVALID",
                metadata={"setting": key},
            )


def _with_file(kind: type[_Settings], table: Mapping[str, Any]) -> type[_Settings]:
    """A subclass whose last source is the table: pydantic-settings takes sources from the class alone."""

    class WithFile(kind):  # type: ignore[valid-type, misc]  # mypy knows no base that is a variable
        @classmethod
        @override
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            *args: PydanticBaseSettingsSource,
            **kwargs: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            sources = super().settings_customise_sources(settings_cls, *args, **kwargs)
            return (*sources, InitSettingsSource(settings_cls, init_kwargs=dict(table)))

    return WithFile


def _told(error: ValidationError, name: str, places: Mapping[str, str]) -> str:
    def where(problem: Any) -> str:  # noqa: ANN401  # pydantic's ErrorDetails is not public
        found = ".".join(str(part) for part in problem["loc"])
        origin = places.get(str(next(iter(problem["loc"]), "")))
        return f"{origin}: {found}" if origin else found

    problems = (f"{where(problem)}: {problem['msg']} (got {problem['input']!r:.80})" for problem in error.errors())
    return f"settings of the {name} server: {'; '.join(problems)}"
