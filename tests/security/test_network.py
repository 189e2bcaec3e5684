# ruff: noqa: ASYNC240  files are looked at between attacks, when nothing else runs
"""Attacks on the network: sockets of every family, servers of the host that wait for a connection."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.security.attack import each
from tests.security.conftest import Attack

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAMILIES = {
    name.removeprefix("AF_"): int(number)
    for name in dir(socket)
    if name.startswith("AF_") and (number := getattr(socket, name)) >= 0
}
NUMBERED = {**{f"family {number}": number for number in range(46)}, **FAMILIES}
BY_NUMBER = {number: name for name, number in NUMBERED.items()}


@each("family", {name: number for number, name in sorted(BY_NUMBER.items())})
async def test_no_socket_of_any_family_can_be_made(attack: Attack, family: int) -> None:
    code = f"""
answers = {{
    syscall('socket', {family}, kind, protocol) for kind in (1, 2, 3, 4, 5, 6, 10) for protocol in (0, 1, 6, 17, 255)
}}
answers |= {{syscall('socketpair', {family}, kind, 0, ctypes.create_string_buffer(8)) for kind in (1, 2, 5)}}
print(*answers)
"""
    async with attack(code, native=True) as result:
        assert result.said("EPERM\n"), (result.status, result.output)


@contextlib.contextmanager
def listening(family: socket.AddressFamily, address: Any, kind: socket.SocketKind) -> Iterator[socket.socket]:
    with socket.socket(family, kind) as server:
        server.bind(address)
        if kind is socket.SOCK_STREAM:
            server.listen()
        server.setblocking(False)
        yield server


def heard(server: socket.socket) -> bool:
    try:
        server.accept() if server.type is socket.SOCK_STREAM else server.recv(1)
    except BlockingIOError:
        return False
    return True


CALLS = {
    "a connection": "import socket\nsocket.create_connection({address!r}, 1)",
    "a connection by asyncio": "import asyncio\nasyncio.run(asyncio.open_connection(*{address!r}))",
    "a page by urllib": "import urllib.request\nurllib.request.urlopen('http://%s:%d/' % {address!r}, timeout=1)",
    "a page by http.client": (
        "import http.client\nhttp.client.HTTPConnection(*{address!r}, timeout=1).request('GET', '/')"
    ),
    "a file by ftplib": "import ftplib\nftplib.FTP().connect(*{address!r}, timeout=1)",
    "a letter by smtplib": "import smtplib\nsmtplib.SMTP(*{address!r}, timeout=1)",
    "a call by xmlrpc": "import xmlrpc.client\nxmlrpc.client.ServerProxy('http://%s:%d/' % {address!r}).f()",
    "a table by NumPy": "np.loadtxt('http://%s:%d/a.csv' % {address!r})",
    "a file by NumPy's data source": "np.lib.npyio.DataSource().open('http://%s:%d/a.csv' % {address!r})",
    "a picture by matplotlib": "import matplotlib.pyplot as plt\nplt.imread('http://%s:%d/a.png' % {address!r})",
    "a log record": """
        import logging, logging.handlers
        handler = logging.handlers.SocketHandler(*{address!r})
        handler.raiseExceptions = True
        handler.createSocket()
        assert handler.sock is not None
    """,
}


@each("call", CALLS)
async def test_a_server_on_the_hosts_loopback_hears_nothing(attack: Attack, call: str) -> None:
    with listening(socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_STREAM) as server:
        async with attack(call.format(address=server.getsockname())) as result:
            assert result.status in ("exception", "policy"), result.output
        assert not heard(server)


async def test_a_datagram_to_the_hosts_loopback_is_not_heard(attack: Attack) -> None:
    with listening(socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_DGRAM) as server:
        code = f"import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', {server.getsockname()!r})"
        async with attack(code) as result:
            assert result.status in ("exception", "policy")
        assert not heard(server)


@pytest.mark.parametrize("abstract", [True, False], ids=["with an abstract name", "in a folder that is everyone's"])
async def test_a_unix_socket_of_the_host_hears_nothing(attack: Attack, open_house: Path, abstract: bool) -> None:
    name = "\0maia-test-abstract" if abstract else str(open_house / "s")
    with listening(socket.AF_UNIX, name, socket.SOCK_STREAM) as server:
        if not abstract:
            Path(name).chmod(0o777)
        async with attack(f"import socket\nsocket.socket(socket.AF_UNIX).connect({name!r})") as result:
            assert result.status in ("exception", "policy")
        assert not heard(server)


async def test_a_named_pipe_of_the_host_carries_nothing(attack: Attack) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        pipe = Path(folder, "pipe")
        os.mkfifo(pipe)
        pipe.chmod(0o666)
        reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        async with attack(f"import os\nos.write(os.open({str(pipe)!r}, os.O_WRONLY | os.O_NONBLOCK), b'x')") as result:
            assert result.status in ("exception", "policy")
        assert os.read(reading, 1) == b""
        os.close(reading)


async def test_names_cannot_be_resolved(attack: Attack) -> None:
    async with attack("import socket\nprint('resolved', socket.getaddrinfo('example.org', 80))") as result:
        assert "resolved" not in result.output


async def test_nobody_can_be_listened_to(attack: Attack) -> None:
    async with attack("import socket\nsocket.create_server(('0.0.0.0', 0))\nprint('listening')") as result:
        assert "listening" not in result.output


ON_THE_CHANNEL = ("sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "connect", "bind", "listen", "accept", "shutdown")


@pytest.mark.parametrize("name", [*ON_THE_CHANNEL, "setsockopt", "getsockopt", "getpeername", "sendto", "recvfrom"])
async def test_the_channel_is_no_socket_to_its_guest_but_a_file(attack: Attack, name: str) -> None:
    """So no descriptor can be sent to the host or taken from it, and nothing can be asked about who is there."""
    code = f"""
space = ctypes.create_string_buffer(256)
print(*(syscall({name!r}, end, space, space, space) for end in (999, 1000)))
"""
    async with attack(code, native=True) as result:
        assert result.said("EPERM EPERM\n"), result.output
