"""What operators can read of a server, and where."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from maia.wire import metrics
from maia.wire.errors import InvalidRequestError, PreconditionError
from maia.wire.metrics import CallMetrics, exported


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_prometheus_reads_them_until_the_end() -> None:
    registry = CollectorRegistry()
    CallMetrics(registry).calls.labels("MeasureUnits", "OK").inc()
    url = f"http://127.0.0.1:{free_port()}/metrics"
    with exported(registry, url.removeprefix("http://").removesuffix("/metrics")):
        text = urllib.request.urlopen(url, timeout=10).read().decode()
    assert 'maia_calls_total{code="OK",method="MeasureUnits"} 1.0' in text
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=10)


def test_who_connects_and_asks_nothing_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metrics, "REQUEST_S", 0.1)
    port = free_port()
    with (
        exported(CollectorRegistry(), f"127.0.0.1:{port}"),
        socket.create_connection(("127.0.0.1", port), timeout=10) as silent,
    ):
        silent.sendall(b"GET /metrics HTTP/1.1\r\nHost: ")
        assert silent.recv(100) == b""
    assert capsys.readouterr().err == ""


def test_other_machines_read_them_only_if_that_is_said() -> None:
    with pytest.raises(InvalidRequestError, match="--metrics-open"), exported(CollectorRegistry(), "0.0.0.0:0"):
        pass
    with exported(CollectorRegistry(), "0.0.0.0:0", open_to_all=True):
        pass


def test_a_port_that_is_taken_is_told(taken: socket.socket) -> None:
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    with (
        pytest.raises(PreconditionError, match=f"cannot be served at {address}"),
        exported(CollectorRegistry(), address),
    ):
        pass


def test_a_socket_is_no_place_for_them() -> None:
    with pytest.raises(InvalidRequestError, match="HOST:PORT"), exported(CollectorRegistry(), "unix:/tmp/x.sock"):
        pass
