"""What every answer of every server keeps to, whatever it was asked."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import grpc
from google.rpc import error_details_pb2, status_pb2
from hypothesis import HealthCheck, settings

from maia.wire.status import DOMAIN

DEADLINE_S: Final = 20.0
"""Whatever takes so long hangs: the largest of these requests takes a second."""

EXAMPLES: Final = int(os.environ.get("MAIA_FUZZ_EXAMPLES", "20"))
"""Of each RPC. More find more; the default is for every run of the tests."""

bounded: Final = settings(
    max_examples=EXAMPLES,
    derandomize="MAIA_FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    # A server outlives an example on purpose; large requests are what this is about.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)

_HERE: Final = re.escape(str(Path.cwd()).encode())
_LEAK: Final = re.compile(rb'Traceback|File "|\.py\b|site-packages|0x[0-9a-f]{8}|object at |' + _HERE)
_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]+")

_GRPCS_OWN: Final = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: "larger than max",
    grpc.StatusCode.UNIMPLEMENTED: "this server does not answer",
    grpc.StatusCode.NOT_FOUND: "",  # the health service's, of a service that is not there
}
"""What gRPC itself answers, by code."""


def check_error(error: grpc.RpcError) -> str:
    """Hold that an error is planned and tells nothing of the server's inside; return its reason."""
    code, text = error.code(), error.details() or ""
    trailers: dict[str, str | bytes] = {one.key: one.value for one in error.trailing_metadata() or ()}
    for part in (text, *trailers.values()):
        found = _LEAK.search(part.encode() if isinstance(part, str) else part)
        assert found is None, (code, text)
    if "grpc-status-details-bin" not in trailers:
        assert _GRPCS_OWN.get(code, "\0") in text, (code, text)
        return str(code.name)
    info = error_details_pb2.ErrorInfo()
    details = status_pb2.Status.FromString(trailers["grpc-status-details-bin"]).details
    assert any(detail.Unpack(info) for detail in details), text
    assert info.domain == DOMAIN
    assert _REASON.fullmatch(info.reason), info.reason
    assert "incident" not in info.metadata, text  # a fault that nobody planned
    assert len(text) < 2_100
    assert "\n" not in text, text
    return str(info.reason)
