"""Joins a Ray cluster, for builds of exemplars and for batches; Ray is an extra, imported when it is asked for."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from maia.wire.errors import InvalidRequestError, PreconditionError

__all__ = ["LOCAL", "before_grpc", "check_address", "connected", "ray_module"]

LOCAL: Final = "local"
"""The address of a cluster of this machine alone, which ends with the command."""

_FOUND: Final = frozenset({LOCAL, "auto"})
_CLIENT: Final = "ray://"
_REACH_S: Final = 10.0

_STORE_BYTES: Final = 100_000_000
"""Of a cluster of our own, for what tasks return, which is little."""

_SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it would tell its makers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as future versions, which the present one warns of
    "RAY_NUM_REDIS_GET_RETRIES": "1",  # it would try for a quarter of an hour to reach what is no Ray
}


def before_grpc() -> None:
    """Have gRPC say nothing when Ray starts processes beside it; to be called before gRPC is imported."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def ray_module() -> Any:  # noqa: ANN401  (a module that may not be there)
    """Import Ray, set so that it tells its makers nothing.

    Raises:
        PreconditionError: EXTRA_MISSING.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise PreconditionError(
            "--engine ray needs Ray, which is not installed; on all machines of the cluster, run: "
            "pip install 'maia[ray]'",
            reason="EXTRA_MISSING",
            metadata={"module": "ray", "extra": "ray"},
        ) from error
    return ray


@contextmanager
def connected(ray: Any, address: str) -> Iterator[None]:  # noqa: ANN401
    """Join a cluster, and leave it; one of our own ends then.

    Raises:
        InvalidRequestError: RAY_ADDRESS_INVALID.
        PreconditionError: RAY_UNREACHABLE.
    """
    _reach(address)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    own = {"include_dashboard": False, "object_store_memory": _STORE_BYTES} if address == LOCAL else {}
    with _handlers_kept():
        try:
            ray.init(address, **quiet, **own)
        except (ConnectionError, RuntimeError, ValueError) as error:
            why = str(error).strip().partition("\n")[0]
            raise _unreachable(address, f"{why} (one that asks for a token needs RAY_AUTH_MODE=token)") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray takes signals for itself when it is joined, which are to save what is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _reach(address: str) -> None:
    """Knock at an address: Ray itself would wait long for one that does not answer."""
    check_address(address)
    if address in _FOUND:
        return
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error


def check_address(address: str) -> None:
    """Refuse what is no address of a cluster, before anything is started.

    Raises:
        InvalidRequestError: RAY_ADDRESS_INVALID.
    """
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    if address in _FOUND:
        return
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise InvalidRequestError(
            f"{address!r:.200} is no address of a Ray cluster; give HOST:PORT, ray://HOST:PORT, auto or local",
            reason="RAY_ADDRESS_INVALID",
            metadata={"address": address[:200]},
        )


def _unreachable(address: str, why: str) -> PreconditionError:
    return PreconditionError(
        f"no Ray cluster can be joined at {address:.200}: {why:.300}; `ray start --head` starts one, --ray-address "
        "says where it is",
        reason="RAY_UNREACHABLE",
        metadata={"address": address[:200]},
    )
