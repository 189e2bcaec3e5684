"""What to do where there is no engine, or not the right one."""

from __future__ import annotations

import errno
import os
from typing import Final

from maia.sandbox.errors import TierUnavailableError

__all__ = ["no_engine", "refused", "unavailable"]

_START: Final = "Start it: `sudo systemctl start docker`; or install one: `sudo apt-get install docker.io`."
_BY_NUMBER: Final = {
    errno.EACCES: "Join its group: `sudo usermod -aG docker $USER`, then log in again; that is as much as being root.",
    errno.ENOENT: _START,
    errno.ECONNREFUSED: _START,
}


def unavailable(tier: str, step: str, reason: str, remedy: str, number: int = 0) -> TierUnavailableError:
    """An error of one of the two tiers made here."""
    return TierUnavailableError(step, number, reason, remedy, tier)


def no_engine(tier: str, error: BaseException) -> TierUnavailableError:
    """Nothing answers at the engine's address."""
    number = _number_in(error)
    reason = f"{errno.errorcode.get(number, number)}: {os.strerror(number)}" if number else str(error)
    remedy = _BY_NUMBER.get(number, "`docker version` must answer; DOCKER_HOST says where the engine is.")
    return unavailable(tier, "reaching a Docker engine", reason, remedy, number)


def refused(tier: str, step: str, error: BaseException) -> TierUnavailableError:
    """The engine answered, but did not do it."""
    reason = str(getattr(error, "explanation", None) or error).strip()
    remedy = "The engine's log says more: `sudo journalctl -u docker`."
    if "seccomp" in reason:
        remedy = "The kernel must be built with CONFIG_SECCOMP_FILTER, and the engine with seccomp."
    elif "no space left" in reason:
        remedy = "Make room: `docker image prune`, and remove old images of `docker image ls maia-sandbox`."
    elif "user namespaces" in reason or "userns" in reason:
        remedy = "Run the engine without `userns-remap`, or with a range that includes the user 65534."
    return unavailable(tier, step, reason, remedy)


def _number_in(error: BaseException) -> int:
    """The system's error number somewhere in what the layers of an HTTP client made of it."""
    seen: list[object] = [error]
    for found in seen:
        if isinstance(found, OSError) and found.errno:
            return found.errno
        if isinstance(found, BaseException):
            more = [*found.args, found.__cause__, found.__context__, getattr(found, "reason", None)]
            seen += [one for one in more if isinstance(one, (BaseException, tuple)) and one not in seen]
        elif isinstance(found, tuple):
            seen += [one for one in found if isinstance(one, BaseException) and one not in seen]
    return 0
