"""Settings of the command line: defaults in code → a TOML file → MAIA_* environment → flags (design D11).

A setting has one name everywhere: `max_rounds` in the file, MAIA_MAX_ROUNDS in the environment, --max-rounds as a flag.
The file is the one that --config or MAIA_CONFIG names, else ./maia.toml where there is one. Its tables [subject],
[generation], …, [sandbox] belong to the servers, which read the same file. Keys are read from the environment alone:
files get copied and committed.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from maia.cli.errors import QUIET_GRPC, CommandError
from maia.orchestrator.budget import Budget
from maia.sandbox.host.tiers.choice import TierName
from maia.sandbox.limits import Limits
from maia.wire.addresses import SERVER_ADDRESSES, split_addresses
from maia.wire.channels import check_reachable
from maia.wire.errors import InvalidRequestError
from maia.wire.tls import ClientCredentials
from maia.wire.toml_places import meant
from maia.wire.toml_places import place as place_in

ADDRESSES: Final = SERVER_ADDRESSES
"""Where each server listens unless something else is said; also the names of the servers, in the order they start."""

SANDBOX_ADDRESS: Final = "127.0.0.1:7416"
"""Where `maia serve sandbox` listens unless something else is said. Nobody goes there unless told to: without an
address sessions run on the machine of the command."""

_TABLES: Final = (*ADDRESSES, "sandbox")

KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "anthropic_api_key": "ANTHROPIC_API_KEY",
        "openai_api_key": "OPENAI_API_KEY",
        "compatible_api_key": "MAIA_COMPATIBLE_API_KEY",
        "token": "MAIA_TOKEN",
    }
)
"""The variable of each key: the vendors', and the token for our own servers."""

_OF_VENDORS: Final = ("generation", "editing", "description")
"""Servers that may have a vendor do their work."""

FILE: Final = Path("maia.toml")
_LIMITS: Final = Limits()


class Config(BaseModel):
    """What the commands can be told, apart from what each does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config_file: Path | None = None
    cache_dir: Path

    subject_address: str = ADDRESSES["subject"]
    generation_address: str = ADDRESSES["generation"]
    editing_address: str = ADDRESSES["editing"]
    exemplars_address: str = ADDRESSES["exemplars"]
    description_address: str = ADDRESSES["description"]

    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    token_file: Path | None = None

    agent: str = "scripted"
    base_url: str | None = None
    max_tokens: int = Field(16_000, ge=1)
    limit_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    context_tokens: int | None = Field(None, ge=10_000)
    describer: str = "agent"
    describer_base_url: str | None = None
    prices: Path | None = None
    budget: str = ""
    batch_budget: str = ""
    task: str = "neuron_description"
    task_file: Path | None = None
    out: Path = Path("results")
    exemplars_store: Path | None = None
    dataset_size: int | None = Field(None, ge=15, le=1_000_000)
    max_rounds: int = Field(25, ge=1, le=1000)
    otlp_endpoint: str = ""
    jobs: int = Field(4, ge=1, le=1000)
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    journal_store: str | None = None
    seed: int = Field(0, ge=0, lt=2**63)
    policy: Literal["restricted", "off"] = "restricted"
    sandbox_tier: TierName = "auto"
    sandbox_address: str | None = None
    allow_unisolated: bool = False

    wall_s: float = _LIMITS.wall_s
    cpu_s: float = _LIMITS.cpu_s
    memory_mb: int = _LIMITS.memory_mb
    output_bytes: int = _LIMITS.output_bytes

    anthropic_api_key: SecretStr | None = None
    openai_api_key: SecretStr | None = None
    compatible_api_key: SecretStr | None = None
    token: SecretStr | None = None

    @field_validator(
        "cache_dir", "out", "task_file", "prices", "exemplars_store", "tls_ca", "tls_cert", "tls_key", "token_file"
    )
    @classmethod
    def _home(cls, path: Path | None) -> Path | None:
        """In a file and in the environment no shell has replaced `~`."""
        return path and path.expanduser()

    @field_validator(*(f"{server}_address" for server in _TABLES), mode="before")
    @classmethod
    def _replicas(cls, address: object) -> object:
        """A file may give a list; everywhere else it is a text with commas."""
        return (
            ",".join(address) if isinstance(address, list) and all(isinstance(one, str) for one in address) else address
        )

    @field_validator(*(f"{server}_address" for server in ADDRESSES))
    @classmethod
    def _addresses(cls, text: str) -> str:
        try:
            return ",".join(split_addresses(text))
        except InvalidRequestError as error:
            raise ValueError(error.message) from error

    @field_validator("budget", "batch_budget")
    @classmethod
    def _budget(cls, text: str) -> str:
        try:
            Budget.parse(text)
        except InvalidRequestError as error:
            raise ValueError(error.message) from error
        return text

    @property
    def limits(self) -> Limits:
        """What a code block may use.

        Raises:
            CommandError: A limit is below what a guest needs.
        """
        try:
            return Limits(
                wall_s=self.wall_s, cpu_s=self.cpu_s, memory_mb=self.memory_mb, output_bytes=self.output_bytes
            )
        except ValueError as error:
            raise CommandError(str(error), reason="SETTING_INVALID") from error

    @property
    def credentials(self) -> ClientCredentials | None:
        """What servers at these addresses are shown; None for plain text.

        Raises:
            InvalidRequestError: SETTING_INVALID: some of the three files of TLS without the others.
        """
        return ClientCredentials.of(
            self.tls_ca, self.tls_cert, self.tls_key, token=self.token, token_file=self.token_file
        )

    def address(self, server: str) -> str:
        """Return where a server is expected, by its name in `ADDRESSES`; several with commas between them."""
        return str(getattr(self, f"{server}_address"))

    def own_address(self, server: str) -> str:
        """Return where a server that is to be started here listens.

        Raises:
            CommandError: The settings name several.
        """
        address = self.address(server) if server in ADDRESSES else self.sandbox_address or SANDBOX_ADDRESS
        if "," in address:
            raise CommandError(
                f"{server}_address names several servers ({address}), and one is to be started; say where it listens "
                f"with `maia serve {server} --listen ADDRESS`",
                reason="SETTING_INVALID",
            )
        return address

    @property
    def traces(self) -> str:
        """Where traces go; "" for nowhere."""
        return self.otlp_endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")

    @property
    def traced_environment(self) -> dict[str, str]:
        """What tells child processes where traces go."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.traces} if self.traces else {}

    def public(self) -> dict[str, object]:
        """Return everything but keys as plain JSON, for the journal."""
        return self.model_dump(mode="json", exclude=set(KEYS))


def load_config(flags: Mapping[str, object], environment: Mapping[str, str] | None = None) -> Config:
    """Read the settings.

    Args:
        flags: By setting, None where a flag was not given. `config` names the file.
        environment: Instead of the process's.

    Raises:
        CommandError: SETTING_INVALID: a value or a name, and where it was found; or the file cannot be read.
    """
    environment = os.environ if environment is None else environment
    file = _file(flags.get("config"), environment)
    text = _text(file) if file else ""
    sources: tuple[tuple[Callable[[str], str], Mapping[str, object]], ...] = (
        (str, {"cache_dir": _default_cache(environment), "config_file": file}),
        (lambda name: f"{place_in(file, text, (name,))}: {name}", _read(file, text) if file else {}),
        (_variable, _from_environment(environment)),
        (_flag, {name: value for name, value in flags.items() if value is not None and name != "config"}),
    )
    values: dict[str, object] = {}
    places: dict[str, Callable[[str], str]] = {}
    for place, source in sources:
        _choose_task(values, source, place)
        values.update(source)
        places.update(dict.fromkeys(source, place))
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise CommandError(_told(error, places), reason="SETTING_INVALID") from None
    config.limits  # noqa: B018  # says now, not at the first block, that a limit cannot be
    config.credentials  # noqa: B018  # the same
    _check_sandbox(config)
    return config


def environment_without_keys(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for processes that need no key, which is every process but this one."""
    return environment_of(None, environment)


def environment_of(server: str | None, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a server, without what is meant for this command's own standard error.

    Args:
        server: Its name: only one that asks vendors gets their keys, and none gets our token, which is a client's.
        environment: Instead of the process's.
    """
    environment = os.environ if environment is None else environment
    kept = {name for name in KEYS.values() if name != KEYS["token"]} if server in _OF_VENDORS else set()
    return {
        name: value
        for name, value in environment.items()
        if (name, value) != QUIET_GRPC and (name in kept or name not in KEYS.values())
    }


def table_of(server: str, file: Path | None) -> Mapping[str, object]:
    """Return a server's own table in a file that `load_config` has read; empty if there is none."""
    table = tomllib.loads(_text(file)).get(server, {}) if file is not None else {}
    return table if isinstance(table, dict) else {}


def _choose_task(values: dict[str, object], source: Mapping[str, object], place: Callable[[str], str]) -> None:
    """Let a task that a later place names stand for a task file of an earlier one, and the other way round.

    Raises:
        CommandError: One place names both.
    """
    if "task" in source and "task_file" in source:
        raise CommandError(
            f"{place('task')} and {place('task_file')} name two tasks; leave one out", reason="SETTING_INVALID"
        )
    if "task" in source:
        values.pop("task_file", None)
    if "task_file" in source:
        values.pop("task", None)


def _check_sandbox(config: Config) -> None:
    """Refuse an address that sessions cannot be opened at.

    Raises:
        InvalidRequestError: ADDRESS_INVALID or ADDRESS_NOT_LOCAL; or CommandError, SETTING_INVALID: a tier beside it.
    """
    if config.sandbox_address is None:
        return
    check_reachable(config.sandbox_address, config.credentials)
    if config.sandbox_tier != "auto":
        raise CommandError(
            f"the sandbox host at {config.sandbox_address} isolates as it was started to; leave out sandbox_tier",
            reason="SETTING_INVALID",
        )


def _settable() -> list[str]:
    return [name for name in Config.model_fields if name not in KEYS and name != "config_file"]


def _file(flag: object, environment: Mapping[str, str]) -> Path | None:
    named = flag or environment.get("MAIA_CONFIG")
    if named:
        return Path(str(named)).expanduser()
    return FILE if FILE.is_file() else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"the file {file} cannot be read: {error.strerror}", reason="SETTING_INVALID") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"the file {file} is no TOML: {error}", reason="SETTING_INVALID") from error


def _read(file: Path, text: str) -> dict[str, object]:
    try:
        table: dict[str, object] = tomllib.loads(text)
    except ValueError as error:
        raise CommandError(f"the file {file} is no TOML: {error}", reason="SETTING_INVALID") from error
    known = _settable()
    for name, value in table.items():
        if name in KEYS:
            where = place_in(file, text, (name,))
            raise CommandError(f"{where}: keys do not belong into files; set {KEYS[name]}", reason="SETTING_INVALID")
        if name not in known and not (name in _TABLES and isinstance(value, dict)):
            raise CommandError(f"{place_in(file, text, (name,))}: {_unknown(name, value)}", reason="SETTING_INVALID")
    return {name: value for name, value in table.items() if name not in _TABLES}


def _unknown(name: str, value: object) -> str:
    if isinstance(value, dict):
        return f"there is no table [{name}]; {meant(name, _TABLES)}"
    if name in _TABLES:
        return f"there is no setting {name!r}; it is the table [{name}] of the settings of a server"
    return f"there is no setting {name!r}; {meant(name, _settable())}"


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    # Other MAIA_* variables belong to the servers. An empty one counts as not set, as shells make it hard to unset one.
    names = [*_settable(), *KEYS]
    return {name: environment[_variable(name)] for name in names if environment.get(_variable(name))}


def _variable(name: str) -> str:
    return KEYS.get(name, f"MAIA_{name.upper()}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _default_cache(environment: Mapping[str, str]) -> Path:
    root = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(root) if root.startswith("/") else Path("~/.cache").expanduser()) / "maia"


def _told(error: ValidationError, places: Mapping[str, Callable[[str], str]]) -> str:
    def one(problem: Any) -> str:  # noqa: ANN401  # pydantic's ErrorDetails is not public
        name = str(problem["loc"][0])
        where = places.get(name, str)(name)
        if problem["type"] == "value_error":  # of our own validators, whose sentences are whole
            return f"{where}: {problem['ctx']['error']}"
        got = "" if name in KEYS else f", not {problem['input']!r:.80}"
        return f"{where}: {problem['msg'][:1].lower()}{problem['msg'][1:]}{got}"

    return "; ".join(one(problem) for problem in error.errors())
