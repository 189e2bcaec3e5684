"""Every RPC with one request gets what nobody should send: it answers, and the next good one as before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.rpcs.contracts import METHODS, UNARY, path_of
from tests.fuzz.rpcs.hostile import requests
from tests.fuzz.rpcs.process import GOOD, Server
from tests.fuzz.rpcs.promises import DEADLINE_S, bounded, check_error

METADATA = st.sampled_from(
    [
        (),
        (("maia-session", "s" * 9_000),),
        (("maia-run", "~~"), ("maia-call", "-1"), ("maia-call", "2")),
        (("grpc-status-details-bin", b"\xff\x00"),),
        (("traceparent", "00-" + "0" * 32 + "-" + "z" * 16 + "-ff"),),
        (("authorization", "Bearer " + "x" * 5_000),),
    ]
)


def service_of(method: MethodDescriptor) -> str:
    return str(method.containing_service.full_name)


def test_every_service_has_a_good_request() -> None:
    assert {service_of(method) for method in METHODS} == {path.split("/")[1] for path in GOOD}


def ask(server: Server, method: MethodDescriptor, data: bytes, metadata: Iterable[tuple[str, str | bytes]] = ()) -> str:
    """Send bytes; return "OK" or the reason of an error that is as errors are to be."""
    path = path_of(method)
    try:
        if method.server_streaming:
            stream = server.channel.unary_stream(path)(data, timeout=DEADLINE_S, metadata=tuple(metadata))
            # Such a stream goes on for ever; its first answer is what the request came to.
            next(stream)
            stream.cancel()
        else:
            server.channel.unary_unary(path)(data, timeout=DEADLINE_S, metadata=tuple(metadata))
    except grpc.RpcError as error:
        return check_error(error)
    return "OK"


@pytest.mark.parametrize("method", UNARY, ids=path_of)
def test_a_server_answers_whatever_it_is_sent(server: Server, method: MethodDescriptor) -> None:
    good = next(one for one in METHODS if service_of(one) == service_of(method) and path_of(one) in GOOD)
    before = server.good(good)
    server.faults()

    @bounded
    @given(requests(method.input_type), METADATA)
    def fuzz(data: bytes, metadata: tuple[tuple[str, str | bytes], ...]) -> None:
        reason = ask(server, method, data, metadata)
        assert server.process.poll() is None, "the server is gone"
        assert not (faults := server.faults()), (reason, faults)

    fuzz()
    assert server.good(good) == before


@pytest.mark.parametrize("method", METHODS, ids=path_of)
def test_a_method_of_another_kind_or_name_is_refused(server: Server, method: MethodDescriptor) -> None:
    channel = server.channel
    for path in (path_of(method) + "s", path_of(method).replace("v1", "v9"), "/", "/a/b/c"):
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(path)(b"", timeout=DEADLINE_S)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "Traceback" not in (refused.value.details() or "")


@pytest.mark.parametrize("method", UNARY, ids=path_of)
def test_bytes_that_are_no_request_are_refused_with_a_reason(server: Server, method: MethodDescriptor) -> None:
    server.faults()
    assert ask(server, method, b"\xff\xff") == "REQUEST_MALFORMED"
    assert not server.faults()


def test_a_call_of_the_contract_that_a_servicer_lacks_is_no_fault(server: Server) -> None:
    server.faults()
    (lacking,) = (method for method in METHODS if path_of(method) == "/grpc.health.v1.Health/List")
    assert ask(server, lacking, b"") == "UNIMPLEMENTED"
    assert not server.faults()


@pytest.mark.parametrize("sent", [[b"", b"", b""], []], ids=["several", "none"])
def test_no_request_or_several_where_one_belongs_hold_nothing_up(server: Server, sent: list[bytes]) -> None:
    (method,) = (method for method in METHODS if method.name == "GetHost")
    with contextlib.suppress(grpc.RpcError):
        list(server.channel.stream_stream(path_of(method))(iter(sent), timeout=1))
    assert server.good(method)
