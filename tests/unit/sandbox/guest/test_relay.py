"""The container's relay, run here as an ordinary process, with a supervisor that isolates nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from maia.sandbox.protocol import mux
from maia.sandbox.protocol.mux import Decoder, Piece, Ready, Stream

START = """
import importlib, os, sys
from maia.sandbox.confinement.cells import OpenCell
from maia.sandbox.guest.relay import serve
from maia.sandbox.protocol.mux import ready
line = os.dup(0), os.dup(1)
os.write(line[1], ready())
serve(line, OpenCell())
"""
LIMITS = {"memory_mb": 256, "tmp_mb": 8, "threads": 4, "open_files": 32}


class Process:
    """A relay's process, spoken to piece by piece."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.decoder = Decoder()
        self.arrived: list[Ready | Piece] = []

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    def say(self, **fields: object) -> None:
        self.stdin.write(mux.piece(Stream.CONTROL, json.dumps(fields).encode() + b"\n"))
        self.stdin.flush()

    def next(self) -> Ready | Piece:
        assert self.process.stdout is not None
        while not self.arrived:
            data = self.process.stdout.read1(65536)  # type: ignore[attr-defined]  # it is buffered
            if not data:
                raise EOFError
            self.arrived += [one for one in self.decoder.feed(data) if isinstance(one, (Ready, Piece))]
        return self.arrived.pop(0)

    def told(self) -> dict[str, object]:
        while True:
            message = self.next()
            if isinstance(message, Piece) and message.stream is Stream.CONTROL and message.data:
                told = json.loads(message.data)
                assert isinstance(told, dict)
                return told

    def rest(self) -> list[Ready | Piece]:
        rest: list[Ready | Piece] = []
        with contextlib.suppress(EOFError):
            while True:
                rest.append(self.next())
        return rest


@pytest.fixture
def relay() -> Iterator[Process]:
    command = [sys.executable, "-P", "-c", START]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Process(process)
        finally:
            process.kill()


def test_it_says_that_it_is_ready_and_then_what_the_supervisor_says(relay: Process) -> None:
    assert isinstance(relay.next(), Ready)
    relay.say(do="start", limits=LIMITS)
    assert relay.told()["tell"] == "started"


def test_when_the_host_goes_it_goes(relay: Process) -> None:
    relay.next()
    relay.stdin.close()
    assert relay.process.wait(10) == 0


def test_when_the_supervisor_ends_it_says_so_of_every_stream_and_ends(relay: Process) -> None:
    relay.next()
    relay.say(do="start", limits=LIMITS)
    relay.told()
    relay.stdin.write(mux.end(Stream.CONTROL))
    relay.stdin.flush()
    ended = {message.stream for message in relay.rest() if isinstance(message, Piece) and not message.data}
    assert ended == set(Stream)
    assert relay.process.wait(10) == 0


def test_when_the_host_breaks_the_rules_it_ends(relay: Process) -> None:
    relay.next()
    relay.stdin.write(b"\xff\xff\xff\xff")
    relay.stdin.flush()
    assert relay.rest() == []
    relay.process.wait(10)


def test_while_it_waits_it_uses_no_cpu(relay: Process) -> None:
    relay.next()
    stat = Path(f"/proc/{relay.process.pid}/stat")

    def ticks() -> int:
        return sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))

    time.sleep(0.3)
    before = ticks()
    time.sleep(0.5)
    assert ticks() - before <= 5, "a loop that waits for nothing would use fifty"
