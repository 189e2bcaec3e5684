"""Hosts of a network that exists only here: a network namespace each, joined to one in the middle by veth pairs.

All of it needs root. What was made is gone when `network` ends, however it ends; what a killed process has left, when
the next one begins.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PREFIX: Final = f"m{os.getpid()}"
"""Two runs of the tests must not share names; an interface's has at most 15 letters."""


@dataclass(frozen=True)
class Link:
    """Between the middle and one host.

    Attributes:
        host: Its name.
        address: Of the host.
        middle_address: Of the middle, on this link.
    """

    host: str
    address: str
    middle_address: str
    _interface: str

    def cut(self) -> None:
        """Take the link down, as when a cable is pulled."""
        _ip("netns", "exec", namespace("middle"), "ip", "link", "set", self._interface, "down")

    def mend(self) -> None:
        """Take it up again."""
        _ip("netns", "exec", namespace("middle"), "ip", "link", "set", self._interface, "up")

    def swallow(self) -> None:
        """Let every packet vanish: nobody is told, neither here nor there, as when a cable is pulled far away."""
        _ip("-n", namespace(self.host), "route", "replace", "blackhole", f"{self.middle_address}/32")

    def deliver(self) -> None:
        """Let packets through again."""
        _ip("-n", namespace(self.host), "route", "delete", "blackhole", f"{self.middle_address}/32")

    def throttle(self, kilobits: int) -> None:
        """Let at most so many kilobits a second through to the host, and from it."""
        shape = ("root", "tbf", "rate", f"{kilobits}kbit", "burst", "16kb", "latency", "400ms")
        for where, interface in ((namespace("middle"), self._interface), (namespace(self.host), "up0")):
            _ip("netns", "exec", where, "tc", "qdisc", "replace", "dev", interface, *shape)

    def unthrottle(self) -> None:
        """Let everything through again."""
        for where, interface in ((namespace("middle"), self._interface), (namespace(self.host), "up0")):
            _ip("netns", "exec", where, "tc", "qdisc", "delete", "dev", interface, "root")

    def throttled_bytes(self) -> int:
        """Return how many bytes to the host have gone through the bottleneck."""
        show = ("tc", "-s", "qdisc", "show", "dev", self._interface)
        words = _ip("netns", "exec", namespace("middle"), *show).split()
        return int(words[words.index("Sent") + 1]) if "tbf" in words else 0


def namespace(host: str) -> str:
    """Return the name of a host's namespace; the middle's host is "middle"."""
    return f"{_PREFIX}-{host}"


def name_hosts(names: Mapping[str, Sequence[str]]) -> None:
    """Say which addresses names stand for on the middle's host, instead of what was said before."""
    lines = [f"{address} {name}\n" for name, addresses in names.items() for address in addresses]
    _names().write_text("127.0.0.1 localhost\n" + "".join(lines))


def why_not() -> str:
    """Return why there can be no network here, or ""."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not all(map(shutil.which, ("ip", "tc"))):
        return "there is no ip or no tc (Debian's iproute2)"
    trial = namespace("trial")
    try:
        _ip("netns", "add", trial)
        shape = ("tbf", "rate", "1mbit", "burst", "16kb", "latency", "9ms")
        _ip("netns", "exec", trial, "tc", "qdisc", "add", "dev", "lo", "root", *shape)
    except subprocess.CalledProcessError as error:
        return f"this machine refuses network namespaces or tbf: {error.stderr.strip()}"
    finally:
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", trial)
    return ""


@contextmanager
def network(hosts: Sequence[str]) -> Iterator[dict[str, Link]]:
    """Make the middle and the hosts; each reaches the middle, and no other."""
    _remove_leftovers()
    with ExitStack() as stack:
        _names().parent.mkdir(parents=True)  # `ip netns exec` mounts what is there in the place of the machine's own
        stack.callback(shutil.rmtree, _names().parent)
        name_hosts({})
        for name in ("middle", *hosts):
            _ip("netns", "add", namespace(name))
            stack.callback(_ip, "netns", "delete", namespace(name))
            _ip("-n", namespace(name), "link", "set", "lo", "up")
        links = {}
        for number, host in enumerate(hosts, 1):
            interface = f"{_PREFIX}h{number}"
            peer = ("peer", "name", "up0", "netns", namespace(host))
            _ip("-n", namespace("middle"), "link", "add", interface, "type", "veth", *peer)
            middle, address = f"10.77.{number}.1", f"10.77.{number}.2"
            for where, own, device in (("middle", middle, interface), (host, address, "up0")):
                _ip("-n", namespace(where), "address", "add", f"{own}/24", "dev", device)
                _ip("-n", namespace(where), "link", "set", device, "up")
            links[host] = Link(host, address, middle, interface)
        yield links


@contextmanager
def process(
    host: str, command: Sequence[str], environment: Mapping[str, str], **popen: object
) -> Iterator[subprocess.Popen[str]]:
    """Run a command on a host, and end it."""
    arguments = ["ip", "netns", "exec", namespace(host), *command]
    started = subprocess.Popen(arguments, env=environment, text=True, **popen)  # type: ignore[call-overload]
    try:
        yield started
    finally:
        started.terminate()  # `ip` has become the command
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        for pipe in (started.stdin, started.stdout):
            if pipe is not None:
                pipe.close()


def _remove_leftovers() -> None:
    for line in _ip("netns", "list").splitlines():
        found = re.fullmatch(r"m(\d+)-\w+", line.split(" ")[0])
        if found and not Path(f"/proc/{found[1]}").exists():
            _ip("netns", "delete", found[0])
            shutil.rmtree(Path("/etc/netns") / found[0], ignore_errors=True)


def _names() -> Path:
    return Path("/etc/netns") / namespace("middle") / "hosts"


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
