"""Attacks on the network: every socket family, and servers of the host that wait for a connection."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAMILIES = {
    name: int(getattr(socket, name))
    for name in (
        "AF_UNIX",
        "AF_INET",
        "AF_INET6",
        "AF_NETLINK",
        "AF_PACKET",
        "AF_VSOCK",
        "AF_ALG",
        "AF_BLUETOOTH",
        "AF_TIPC",
        "AF_CAN",
    )
    if hasattr(socket, name)
}


@pytest.mark.parametrize("family", FAMILIES)
async def test_no_socket_of_any_family_can_be_made(attack: Any, family: str) -> None:
    number = "41 if os.uname().machine == 'x86_64' else 198"
    code = (
        f"for kind in (1, 2, 3, 5):\n    assert syscall({number}, {FAMILIES[family]}, kind, 0) == 'EPERM'\n"
        "print('refused')"
    )
    async with attack(code, native=True) as result:
        assert result.output in ("", "refused\n")
        assert result.status in ("ok", "policy")


@pytest.mark.parametrize(
    "call",
    [
        "import socket\ns = socket.create_connection({address!r}, 1)",
        "import urllib.request\nurllib.request.urlopen('http://%s:%d/' % {address!r}, timeout=1)",
        "import http.client\nhttp.client.HTTPConnection(*{address!r}, timeout=1).request('GET', '/')",
        "import asyncio\nasyncio.run(asyncio.open_connection(*{address!r}))",
        "np.loadtxt('http://%s:%d/a.csv' % {address!r})",
        "np.lib.npyio.DataSource().open('http://%s:%d/a.csv' % {address!r})",
    ],
)
async def test_a_server_on_the_hosts_loopback_hears_nothing(attack: Any, call: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        async with attack(call.format(address=server.getsockname())) as result:
            assert result.status in ("exception", "policy")
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("abstract", [True, False])
async def test_a_unix_socket_of_the_host_hears_nothing(attack: Any, tmp_path: Path, abstract: bool) -> None:
    name = "\0maia-test-abstract" if abstract else str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        server.setblocking(False)
        async with attack(f"import socket\nsocket.socket(socket.AF_UNIX).connect({name!r})") as result:
            assert result.status in ("exception", "policy")
        with pytest.raises(BlockingIOError):
            server.accept()


async def test_names_cannot_be_resolved(attack: Any) -> None:
    async with attack("import socket\nprint('resolved', socket.getaddrinfo('example.org', 80))") as result:
        assert "resolved" not in result.output


async def test_descriptors_cannot_be_sent_to_the_host_or_taken_from_it(attack: Any) -> None:
    numbers = {
        "sendmsg": (46, 211),
        "recvmsg": (47, 212),
        "sendmmsg": (307, 269),
        "connect": (42, 203),
        "socketpair": (53, 199),
    }
    index = "0 if os.uname().machine == 'x86_64' else 1"
    code = "\n".join(
        f"assert syscall({pair}[{index}], 1000, ctypes.create_string_buffer(64), 0) == 'EPERM'"
        for pair in numbers.values()
    )
    async with attack(code + "\nprint('refused')", native=True) as result:
        assert result.output in ("", "refused\n")
        assert result.status in ("ok", "policy")
