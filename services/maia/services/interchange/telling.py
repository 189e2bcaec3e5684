"""What a command says while it works and what came of it: to people, or as lines of JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TextIO

from typing_extensions import override

from maia.services.interchange.progress import Step
from maia.wire.errors import CancelledError

__all__ = ["JsonTeller", "PeopleTeller", "Teller"]

_BETWEEN_S: Final = 0.2
"""Steps are told no more often."""


class Teller(Protocol):
    """Who is told."""

    def step(self, step: Step) -> None:
        """Hear how far something is."""

    def notes(self, sentences: Sequence[str]) -> None:
        """Hear what people should know, though nothing failed."""

    def result(self, fact: Mapping[str, object], sentence: str) -> None:
        """Hear what came of it: the same, for programs and for people."""

    def finish(self) -> None:
        """Hear that it is over, and went well."""


class _Pace:
    """Lets through the first and last step of each kind and some between them."""

    def __init__(self) -> None:
        self._doing = ""
        self._told = 0.0

    def due(self, step: Step) -> bool:
        now = time.monotonic()
        if step.done != step.total and step.doing == self._doing and now - self._told < _BETWEEN_S:
            return False
        self._doing, self._told = step.doing, now
        return True


class JsonTeller(Teller):
    """A line for each step, and a last one: {"results": [...], "notes": [...]}."""

    def __init__(self) -> None:
        self._pace = _Pace()
        self._results: list[Mapping[str, object]] = []
        self._notes: list[str] = []

    @override
    def step(self, step: Step) -> None:
        if self._pace.due(step):
            self._write(dataclasses.asdict(step))

    @override
    def notes(self, sentences: Sequence[str]) -> None:
        self._notes += sentences

    @override
    def result(self, fact: Mapping[str, object], sentence: str) -> None:
        self._results.append(fact)

    @override
    def finish(self) -> None:
        self._write({"results": self._results, "notes": self._notes})

    def _write(self, fact: Mapping[str, object]) -> None:
        _write(sys.stdout, json.dumps(fact) + "\n")


class PeopleTeller(Teller):
    """Results on standard output; progress and notes on standard error, as one moving line in a terminal."""

    def __init__(self) -> None:
        self._pace = _Pace()

    @override
    def step(self, step: Step) -> None:
        over, moving = step.done == step.total, sys.stderr.isatty()
        if not (over or (moving and self._pace.due(step))):
            return
        in_bytes = step.counted == "bytes"
        amounts = [f"{amount / 1e6:.1f}" if in_bytes else str(amount) for amount in (step.done, step.total)]
        counted = " of ".join(amounts if step.total else amounts[:1])
        start, end = "\r\x1b[K" if moving else "", "\n" if over else ""
        _write(sys.stderr, f"{start}{step.doing}: {counted} {'MB' if in_bytes else 'pictures'}{end}")

    @override
    def notes(self, sentences: Sequence[str]) -> None:
        for sentence in sentences:
            _write(sys.stderr, f"note: {sentence}\n")

    @override
    def result(self, fact: Mapping[str, object], sentence: str) -> None:
        _write(sys.stdout, sentence + "\n")

    @override
    def finish(self) -> None:
        pass


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError as error:  # as an OSError it would be taken for one of the disk or of a connection
        raise CancelledError("stopped: nobody listens any more") from error
