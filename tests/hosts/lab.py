"""A lab over a network of hosts: certificates, servers on their hosts, and the commands that use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Final

from tests.hosts.namespaces import Link, process

SUBJECT_PORT: Final = 7411
SANDBOX_PORT: Final = 7416
SLOW_SANDBOX: Final = "127.0.0.1:7500"
"""Behind a proxy that holds everything back, on the orchestrator's host."""

_PATIENCE_S: Final = 60.0


@dataclass(frozen=True)
class Answer:
    """When it came, how long it took, and what went wrong."""

    at: float
    seconds: float
    error: str


class Asking:
    """Calls that are made one after the other, four at a time, until it is ended."""

    def __init__(self, started: subprocess.Popen[str]) -> None:
        self._process = started
        self._answers: list[Answer] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def take(self, least: int = 1) -> list[Answer]:
        """Wait for so many further answers, and return all that have come since it was last asked."""
        until = time.monotonic() + _PATIENCE_S
        while len(self._answers) < least:
            assert self._reader.is_alive()
            assert time.monotonic() < until, self._answers
            time.sleep(0.02)
        taken, self._answers = self._answers, []
        return taken

    def until(self, wanted: Callable[[Answer], bool]) -> list[Answer]:
        """Return what has come up to an answer that is wanted."""
        taken: list[Answer] = []
        while not any(map(wanted, taken)):
            taken += self.take()
        return taken

    def end(self) -> list[Answer]:
        """Return what is left."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(20) == 0
        self._reader.join(20)
        return self._answers

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            self._answers.append(Answer(time.monotonic(), told["seconds"], told["error"]))


class Lab:
    """Servers on their hosts, all over mutual TLS; those that no test disturbs are on the orchestrator's host.

    Args:
        stack: Ends what is started.
        folder: For certificates, logs and results.
        links: To "subject1", "subject2" and "sandbox".
    """

    def __init__(self, stack: ExitStack, folder: Path, links: dict[str, Link]) -> None:
        self.folder = folder
        self.links = links
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MAIA_")}
        self.environment = {**kept, "MAIA_CACHE_DIR": str(folder / "cache"), "XDG_CACHE_HOME": str(folder / "cache")}
        self._stack = stack
        self.certs = folder / "certs"
        self.subjects = [f"{links[host].address}:{SUBJECT_PORT}" for host in ("subject1", "subject2")]
        near = links["subject1"].middle_address  # no loopback: a command has more patience with other machines
        self.slow_subject = f"{near}:7501"
        subjects = [*(links[host].address for host in ("subject1", "subject2")), "subject.lab", near]
        names = {
            "subject": ",".join(subjects),
            "sandbox": f"{links['sandbox'].address},127.0.0.1",
        }
        flags = [part for name, hosts in names.items() for part in ("--host", f"{name}={hosts}")]
        subprocess.run(
            [sys.executable, "-m", "maia.cli", "certs", str(self.certs), *flags],
            env=self.environment,
            check=True,
            capture_output=True,
        )
        self._rest = f"unix:{folder}/rest.sock"
        delayed = {
            "sandbox": [SLOW_SANDBOX, f"{links['sandbox'].address}:{SANDBOX_PORT}", "0.03"],
            "subject": [self.slow_subject, self.subjects[0], "0.4"],
        }
        self._servers = {
            "rest": self._start("rest", "middle", "tests.fuzz.rpcs.program", str(folder / "rest"), self._rest),
            "subject1": self._subject("subject1"),
            "subject2": self._subject("subject2"),
            "sandbox": self._sandbox(),
            **{
                f"slow {name}": self._start("proxy", "middle", "tests.hosts.delaying", *how)
                for name, how in delayed.items()
            },
        }
        for name in self._servers:
            self._await(name)

    def begin(self, name: str) -> None:
        """Start a server that was ended, and wait until it serves."""
        self._servers[name] = self._sandbox() if name == "sandbox" else self._subject(name)
        self._await(name)

    def end(self, name: str) -> int:
        """Ask a server to stop; return its exit code."""
        self._servers[name].terminate()
        return self._servers[name].wait(30)

    def kill(self, name: str) -> None:
        """End a server without asking."""
        self._servers[name].kill()
        self._servers[name].wait(30)

    def command(self, out: str, *arguments: str, only: str = "", **settings: str) -> subprocess.Popen[str]:
        """Begin a command of `maia` on the orchestrator's host.

        Args:
            out: What its log is called.
            arguments: Command and flags.
            only: The one server whose address the command takes.
            settings: Instead of the usual addresses.
        """
        addresses = {
            "subject": ",".join(self.subjects),
            **dict.fromkeys(("generation", "editing", "exemplars", "description"), self._rest),
            "sandbox": f"{self.links['sandbox'].address}:{SANDBOX_PORT}",
            **settings,
        }
        flags = [f"--{name}-address={address}" for name, address in addresses.items() if only in ("", name)]
        pair = {"ca": "ca.pem", "cert": "orchestrator.pem", "key": "orchestrator-key.pem"}
        flags += [f"--tls-{flag}={self.certs / file}" for flag, file in pair.items()]
        command = [sys.executable, "-m", "maia.cli", *arguments, *flags]
        log = self._stack.enter_context((self.folder / f"{out}.log").open("w"))
        files: dict[str, object] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        return self._stack.enter_context(process("middle", command, self.environment, cwd=self.folder, **files))

    def asking(self, address: str = "") -> Asking:
        """Begin to ask the subject servers again and again, on the orchestrator's host."""
        pair = [str(self.certs / file) for file in ("ca.pem", "orchestrator.pem", "orchestrator-key.pem")]
        arguments = [address or ",".join(self.subjects), *pair]
        return Asking(self._start("asking", "middle", "tests.hosts.asking", *arguments))

    def run(self, out: str, units: Sequence[int], **settings: str) -> subprocess.Popen[str]:
        """Begin a run of units that are investigated at once."""
        which = f"--units=mono={','.join(map(str, units))}"
        flags = ("--model=scene-neurons", which, f"--jobs={len(units)}", "--agent=scripted")
        return self.command(out, "run", *flags, f"--out={self.folder / out}", **settings)

    def calls(self, server: str, method: str) -> int:
        """Return how many calls a server has answered, in any way."""
        return (self.folder / f"{server}.log").read_text().count(f"/{method}")

    def told(self, name: str) -> str:
        """Return what a server or command has written, its end if it is long."""
        return (self.folder / f"{name}.log").read_text()[-4000:]

    def _subject(self, host: str) -> subprocess.Popen[str]:
        flags = ("--model=scene-neurons", "--drain-s=20", *self._serving("subject", host, SUBJECT_PORT))
        return self._start(host, host, "maia.services.subject", *flags)

    def _sandbox(self) -> subprocess.Popen[str]:
        return self._start(
            "sandbox", "sandbox", "maia.sandbox.remote", *self._serving("sandbox", "sandbox", SANDBOX_PORT)
        )

    def _serving(self, name: str, host: str, port: int) -> list[str]:
        pair = {"cert": f"{name}.pem", "key": f"{name}-key.pem", "client-ca": "ca.pem"}
        return [
            *("--announce", "--end-with-stdin", "--listen", f"{self.links[host].address}:{port}"),
            *(f"--tls-{flag}={self.certs / file}" for flag, file in pair.items()),
        ]

    def _start(self, name: str, host: str, module: str, *flags: str) -> subprocess.Popen[str]:
        log = self._stack.enter_context((self.folder / f"{name}.log").open("a"))
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", module, *flags]
        return self._stack.enter_context(process(host, command, self.environment, stdin=pipe, stdout=pipe, stderr=log))

    def _await(self, name: str) -> None:
        server = self._servers[name]
        assert server.stdout is not None
        assert server.stdout.readline(), self.told(name)
