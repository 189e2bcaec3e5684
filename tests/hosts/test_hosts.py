"""Orchestrator, two subject replicas and a sandbox host, each on a host of its own, over links that do not hold.

The other servers are on the orchestrator's host. Everything between hosts goes over mutual TLS.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Final

import pytest
from tests.hosts.namespaces import Link, namespace, network, process, why_not

from maia.orchestrator.events import Finished, ToolCalled, ToolReturned
from maia.orchestrator.journal import JournalReader

HOSTS: Final = ("subject1", "subject2", "sandbox")
UNITS: Final = (12,)
TOLERANCE: Final = 0.01
"""Of activations, which are rounded to two decimals: what shares a batch changes a float's last bits."""

PATIENCE_S: Final = 150.0


@pytest.fixture
def links() -> Iterator[dict[str, Link]]:
    if reason := why_not():
        pytest.skip(reason)
    with network(HOSTS) as made:
        yield made


def test_a_link_is_cut_throttled_and_mended(links: dict[str, Link], tmp_path: Path) -> None:
    link, port = links["sandbox"], 4000
    serve = f"import socket; s = socket.create_server(('{link.address}', {port})); print('ready', flush=True)\n"
    serve += "while True:\n c, _ = s.accept(); c.sendall(b'x' * 200_000); c.close()"
    fetch = f"import socket; s = socket.create_connection(('{link.address}', {port}), 1); s.settimeout(20)\n"
    fetch += "n = 0\nwhile data := s.recv(65536): n += len(data)\nprint(n)"

    def fetched() -> str:
        command = ["ip", "netns", "exec", namespace("middle"), sys.executable, "-c", fetch]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    with process("sandbox", [sys.executable, "-c", serve], os.environ, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        assert fetched() == "200000"
        link.cut()
        assert fetched() == ""
        link.mend()
        link.throttle(2_000)
        assert fetched() == "200000"
        assert link.throttled_bytes() > 0


class Lab:
    """Certificates, servers on their hosts, and the command that uses them."""

    def __init__(self, stack: ExitStack, folder: Path, links: dict[str, Link]) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MAIA_")}
        self.environment = {**kept, "MAIA_CACHE_DIR": str(folder / "cache"), "XDG_CACHE_HOME": str(folder / "cache")}
        self._stack = stack
        self.certs = folder / "certs"
        subjects = [links["subject1"].address, links["subject2"].address]
        names = [f"subject={','.join(subjects)}", f"sandbox={links['sandbox'].address},127.0.0.1"]
        flags = [part for name in names for part in ("--host", name)]
        subprocess.run(
            [sys.executable, "-m", "maia.cli", "certs", str(self.certs), *flags],
            env=self.environment,
            check=True,
            capture_output=True,
        )
        rest = f"unix:{folder}/rest.sock"
        subject = ("maia.services.subject", "--model=scene-neurons")
        waits = [
            self._start("middle", "tests.fuzz.rpcs.program", str(folder / "rest"), rest),
            *(self._start(host, *subject, *self._serving("subject", links[host])) for host in HOSTS[:2]),
            self._start("sandbox", "maia.sandbox.remote", *self._serving("sandbox", links["sandbox"])),
        ]
        proxy = ["127.0.0.1:7500", f"{links['sandbox'].address}:7416", "0.03"]
        waits.append(self._start("middle", "tests.hosts.delaying", *proxy))
        for server in waits:
            assert server.stdout is not None
            assert server.stdout.readline(), (folder / "servers.log").read_text()[-2000:]
        self.flags = [
            f"--subject-address={','.join(f'{address}:7411' for address in subjects)}",
            *(f"--{name}-address={rest}" for name in ("generation", "editing", "exemplars", "description")),
            "--sandbox-address=127.0.0.1:7500",
            f"--tls-ca={self.certs}/ca.pem",
            f"--tls-cert={self.certs}/orchestrator.pem",
            f"--tls-key={self.certs}/orchestrator-key.pem",
        ]

    def _serving(self, name: str, link: Link) -> list[str]:
        port = 7411 if name == "subject" else 7416
        pair = {"cert": f"{name}.pem", "key": f"{name}-key.pem", "client-ca": "ca.pem"}
        return [
            *("--announce", "--end-with-stdin", "--listen", f"{link.address}:{port}"),
            *(f"--tls-{flag}={self.certs}/{file}" for flag, file in pair.items()),
        ]

    def _start(self, host: str, module: str, *flags: str) -> subprocess.Popen[str]:
        log = self._stack.enter_context((self.folder / "servers.log").open("a"))
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", module, *flags]
        return self._stack.enter_context(process(host, command, self.environment, stdin=pipe, stdout=pipe, stderr=log))

    def run(self, out: str) -> subprocess.Popen[str]:
        """Begin a run on the orchestrator's host."""
        units = ",".join(map(str, UNITS))
        command = [
            *(sys.executable, "-m", "maia.cli", "run", "--model=scene-neurons", f"--units=mono={units}"),
            *("--agent=scripted", f"--out={self.folder / out}", *self.flags),
        ]
        log = self._stack.enter_context((self.folder / f"{out}.log").open("w"))
        files: dict[str, object] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        return self._stack.enter_context(process("middle", command, self.environment, cwd=self.folder, **files))

    def told(self, out: str) -> str:
        return (self.folder / f"{out}.log").read_text()[-3000:]


def begun(root: Path) -> bool:
    """Whether a tool was called."""
    return any("tool_called" in file.read_text() for file in root.rglob("journal.jsonl"))


def found(root: Path) -> list[tuple[object, ...]]:
    """What each unit came to."""
    (model,) = root.glob("*/scene-neurons")
    said: list[tuple[object, ...]] = []
    for unit in UNITS:
        events = JournalReader(model / "mono" / str(unit)).events
        said += [(e.how, e.labels, e.description, e.tool_calls) for e in events if isinstance(e, Finished)]
    return said


def activations(root: Path) -> list[float]:
    (model,) = root.glob("*/scene-neurons")
    values: list[float] = []
    for unit in UNITS:
        events = JournalReader(model / "mono" / str(unit)).events
        tools = {event.call: event.tool for event in events if isinstance(event, ToolCalled)}
        for event in events:
            if isinstance(event, ToolReturned) and tools[event.call] == "system.call_neuron":
                values += event.result[0]
    return values


def test_a_run_over_links_that_do_not_hold_ends_as_an_undisturbed_one(links: dict[str, Link], tmp_path: Path) -> None:
    with ExitStack() as stack:
        lab = Lab(stack, tmp_path, links)
        assert lab.run("calm").wait(PATIENCE_S) == 0, lab.told("calm")

        for host in ("subject2", "sandbox"):
            links[host].throttle(8_000)
        run = lab.run("stormy")
        until = time.monotonic() + PATIENCE_S
        cuts: list[str] = []
        while not begun(tmp_path / "stormy"):  # at its very start a command names what does not answer, and ends
            assert run.poll() is None, lab.told("stormy")
            assert time.monotonic() < until, lab.told("stormy")
            time.sleep(0.1)
        for host in cycle(("subject1", "sandbox", "subject2")):
            try:
                run.wait(1.0)
                break
            except subprocess.TimeoutExpired:
                assert time.monotonic() < until, lab.told("stormy")
            links[host].cut()
            cuts.append(host)
            time.sleep(1.0)
            links[host].mend()
        assert run.returncode == 0, lab.told("stormy")
        assert set(cuts) == set(HOSTS), cuts
        assert links["subject2"].throttled_bytes() > 0
        assert found(tmp_path / "stormy") == found(tmp_path / "calm")
        assert len(found(tmp_path / "calm")) == len(UNITS)
        assert activations(tmp_path / "stormy") == pytest.approx(activations(tmp_path / "calm"), abs=TOLERANCE)
