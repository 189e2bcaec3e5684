"""Bearer tokens: who may call which servers, and how much.

    [principals.alice]
    sha256 = "9f86d081…"                # of the token, which stands nowhere
    scopes = ["subject", "generation"]  # servers, or ["*"] for all
    requests_per_s = 20                 # these three: no bound if they are left out
    concurrent = 8
    request_mb = 16
    expires = 2027-06-30
    revoked = false

`maia token NAME` writes such an entry. The file is read again when it has changed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import re
import secrets
import stat
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from maia.wire.addresses import SERVER_ADDRESSES
from maia.wire.errors import (
    InvalidRequestError,
    MaiaError,
    PermissionRefusedError,
    PreconditionError,
    UnauthenticatedError,
)
from maia.wire.files import write_together
from maia.wire.watching import Watched

log = structlog.stdlib.get_logger("maia.tokens")

SCOPES: Final = (*SERVER_ADDRESSES, "sandbox")
"""What a token can be for."""

EVERY_SCOPE: Final = "*"

_NAME: Final = re.compile("[A-Za-z0-9_-]{1,64}")

_LOOK_S: Final = 1.0
"""How long a changed file may go unnoticed."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What one client may ask of a server; 0 for no bound.

    Attributes:
        requests_per_s: On average; a second's worth at once.
        concurrent: Calls at the same time.
        request_bytes: Of one request.
    """

    requests_per_s: float = 0.0
    concurrent: int = 0
    request_bytes: int = 0

    def within(self, default: Quota) -> Quota:
        """Return this with another's bounds where it has none."""
        return Quota(
            self.requests_per_s or default.requests_per_s,
            self.concurrent or default.concurrent,
            self.request_bytes or default.request_bytes,
        )

    def check_size(self, size: int) -> None:
        """Refuse a request that has too many bytes.

        Raises:
            InvalidRequestError: REQUEST_TOO_LARGE.
        """
        if self.request_bytes and size > self.request_bytes:
            raise InvalidRequestError(
                f"a request of {size} bytes; at most {self.request_bytes} are accepted from this client",
                reason="REQUEST_TOO_LARGE",
                metadata={"limit": str(self.request_bytes)},
            )


class Principal(BaseModel):
    """An entry of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[str, ...], Field(min_length=1)]
    requests_per_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    concurrent: Annotated[int, Field(ge=0)] = 0
    request_mb: Annotated[int, Field(ge=0)] = 0
    expires: dt.datetime | None = None
    revoked: bool = False

    @field_validator("scopes")
    @classmethod
    def _known(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        for scope in scopes:
            if scope != EVERY_SCOPE and scope not in SCOPES:
                raise ValueError(f"there is no scope {scope!r}; valid: {', '.join(SCOPES)} and {EVERY_SCOPE}")
        return scopes

    @field_validator("expires")
    @classmethod
    def _in_utc(cls, moment: dt.datetime | None) -> dt.datetime | None:
        return moment.replace(tzinfo=dt.UTC) if moment is not None and moment.tzinfo is None else moment

    @property
    def quota(self) -> Quota:
        """What it may ask."""
        return Quota(self.requests_per_s, self.concurrent, self.request_mb * 1_000_000)


@dataclass(slots=True)
class TokenFile:
    """The principals of a file, as they are in force.

    A file that has become unusable leaves the earlier principals in force, and an error in the log.

    Raises:
        PreconditionError: TOKENS_INVALID.
    """

    path: Path
    _principals: Watched[dict[str, Principal]] = field(init=False)
    _looked: float = field(init=False)

    def __post_init__(self) -> None:
        self._looked = time.monotonic()
        self._principals = Watched((self.path,), lambda: read_principals(self.path))

    def identify(self, authorization: object, scope: str | None) -> tuple[str, Principal]:
        """Return whose token came with a call.

        Args:
            authorization: The call's metadata of that name.
            scope: The server's, or None for a call that belongs to none.

        Raises:
            UnauthenticatedError: TOKEN_MISSING, TOKEN_UNKNOWN, TOKEN_REVOKED or TOKEN_EXPIRED.
            PermissionRefusedError: TOKEN_SCOPE.
        """
        self._look()
        scheme, _, token = authorization.partition(" ") if isinstance(authorization, str) else ("", "", "")
        if scheme.lower() != "bearer" or not token.strip():
            raise UnauthenticatedError(
                "this server takes calls with one token only; set MAIA_TOKEN or --token-file to one that `maia token` "
                "has made",
                reason="TOKEN_MISSING",
            )
        digest = hash_of(token.strip())
        found: tuple[str, Principal] | None = None
        for name, principal in self._principals.current.items():  # all of them, so that the time says nothing
            if hmac.compare_digest(digest, principal.sha256):
                found = name, principal
        if found is None:
            raise UnauthenticatedError("this server does not know the token", reason="TOKEN_UNKNOWN")
        _check(*found, scope)
        return found

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        try:
            if self._principals.look():
                log.info("tokens read again", file=str(self.path), principals=len(self._principals.current))
        except MaiaError as error:
            log.warning("the new tokens are not taken, the earlier ones stay in force", why=error.message)


def hash_of(token: str) -> str:
    """Return what stands in the file for a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read_principals(path: Path) -> dict[str, Principal]:
    """Read a file of principals.

    Raises:
        PreconditionError: TOKENS_INVALID; the message names the entry and what is wrong in it.
    """

    def refused(why: str) -> PreconditionError:
        return PreconditionError(
            f"the tokens {path} cannot be used: {why}", reason="TOKENS_INVALID", metadata={"file": str(path)}
        )

    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refused(error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise refused(f"no TOML: {error}") from error
    entries = table.pop("principals", {})
    if table or not isinstance(entries, dict):
        raise refused(f"it holds tables [principals.NAME], not {', '.join(table) or 'a value'}")
    principals: dict[str, Principal] = {}
    hashes: dict[str, str] = {}
    for name, entry in entries.items():
        try:
            principals[name] = Principal.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            field_ = ".".join(map(str, first["loc"]))
            # Neither value nor input: somebody may have put the token where its hash belongs.
            raise refused(f"principals.{name}: {field_}: {first['msg']}") from None
        other = hashes.setdefault(principals[name].sha256, name)
        if other != name:
            raise refused(f"{other} and {name} have the same token")
    return principals


def _check(name: str, principal: Principal, scope: str | None) -> None:
    if principal.revoked:
        raise UnauthenticatedError(
            f"the token of {name} has been revoked", reason="TOKEN_REVOKED", metadata={"client": name}
        )
    if principal.expires is not None and principal.expires <= dt.datetime.now(dt.UTC):
        raise UnauthenticatedError(
            f"the token of {name} expired on {principal.expires:%Y-%m-%d %H:%M} UTC",
            reason="TOKEN_EXPIRED",
            metadata={"client": name},
        )
    if scope is not None and scope not in principal.scopes and EVERY_SCOPE not in principal.scopes:
        raise PermissionRefusedError(
            f"the token of {name} is for {', '.join(principal.scopes)}, not for {scope}",
            reason="TOKEN_SCOPE",
            metadata={"client": name, "scope": scope},
        )


def add_principal(
    tokens: Path,
    name: str,
    scopes: Sequence[str],
    out: Path,
    *,
    expires: dt.datetime | None = None,
    quota: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Make a token: write it to a file of its own, and an entry with its hash to the file of principals.

    Args:
        tokens: The servers' file; made if it is not there.
        name: Whose.
        scopes: What it is for.
        out: Where the token goes, readable by its owner alone.
        expires: When it ends.
        quota: Fields of `Principal`.

    Raises:
        InvalidRequestError: TOKENS_INVALID: a name or scope that cannot be; the name is there already.
        PreconditionError: TOKENS_INVALID: the file cannot be used; or `out` is there already. FILE_UNWRITABLE.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"nobody can be called {name!r}; take letters, digits, _ and -", reason="TOKENS_INVALID"
        )
    if name in (read_principals(tokens) if tokens.exists() else {}):
        raise InvalidRequestError(
            f"{tokens} has an entry for {name} already; remove it first, or take another name", reason="TOKENS_INVALID"
        )
    token = f"maia_{secrets.token_urlsafe(32)}"
    entry: dict[str, object] = {"sha256": hash_of(token), "scopes": list(scopes), **quota}
    try:
        Principal.model_validate({**entry, "expires": expires})
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidRequestError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}, not {first['input']!r:.80}", reason="TOKENS_INVALID"
        ) from None
    lines = [f"[principals.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items())]
    if expires is not None:
        lines.append(f"expires = {expires.isoformat()}")
    before = tokens.read_text(encoding="utf-8") if tokens.exists() else ""
    gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
    if out.exists():
        raise PreconditionError(f"{out} is there already; a token is never overwritten", reason="TOKENS_INVALID")
    written = before + gap + "\n".join(lines) + "\n"
    mode = stat.S_IMODE(tokens.stat().st_mode) if tokens.exists() else 0o644
    write_together({out: (f"{token}\n".encode(), 0o600), tokens: (written.encode(), mode)})
