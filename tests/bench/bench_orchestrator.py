"""The orchestrator's own time: a run of 25 rounds with 10 pictures each whose model and servers answer at once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.bench.table import show

from maia.cli.finished import earlier_result
from maia.orchestrator.clients import GeneratedPicture, Generator, Servers
from maia.orchestrator.clients.description import Describer
from maia.orchestrator.clients.editing import Editor
from maia.orchestrator.clients.subject import Response, SubjectInfo
from maia.orchestrator.conversation import Message, Picture, Reply
from maia.orchestrator.events import RunStarted, UnitName
from maia.orchestrator.journal import FILE_NAME, decode_line, encode_line
from maia.orchestrator.report import rebuild, write_unit
from maia.orchestrator.report.unit import RESULT
from maia.orchestrator.run import RunSettings, investigate_unit, unit_folder
from maia.orchestrator.tasks import load_task
from maia.orchestrator.wiring import Lab
from maia.sandbox import Host
from maia.wire.errors import NotFoundError
from maia.wire.logs import configure_logs
from maia.wire.maps import Frame
from maia.wire.pictures import encode_png

ROUNDS: Final = 25
PICTURES: Final = 10
UNITS: Final = 1000
UNIT: Final = UnitName("bench", "layer1", 0)

ORIGINALS = f"images = tools.text2image(['a'] * {PICTURES})\nprint('round')\ntools.display(*images)"
VIEWS = f"images = tools.text2image(['a'] * {PICTURES})\n_, views = system.call_neuron(images)\ntools.display(*views)"
CONCLUSION = "[DESCRIPTION]: It likes noise.\n[LABEL 1]: noise"


@dataclass
class Answers:
    """All five servers at once, and the model: what they answer was made beforehand."""

    pictures: Sequence[Picture]
    code: str
    asked_at: list[float] = field(default_factory=list)
    given: int = 0
    name: str = "bench"

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        self.asked_at.append(time.perf_counter())
        turn = sum(message.role == "assistant" for message in messages)
        return Reply(f"```python\n{self.code}\n```" if turn < ROUNDS else CONCLUSION, "bench")

    async def aclose(self) -> None:
        pass

    async def info(self, *_: object) -> SubjectInfo:
        return SubjectInfo("bench", "", (), 224, "1", "float32", ())

    async def generator(self, *_: object) -> Generator:
        return Generator("bench", "1", "Say anything.", (224, 224))

    async def editor(self, *_: object) -> Editor:
        return Editor("bench", "1", "Whatever.")

    async def describer(self, *_: object) -> Describer:
        return Describer("bench", "1")

    async def threshold(self, *_: object) -> float:
        raise NotFoundError("none", reason="EXEMPLARS_MISSING")

    async def generate(self, items: Sequence[object], *_: object) -> list[GeneratedPicture]:
        first = self.given
        self.given += len(items)
        return [GeneratedPicture(self.pictures[(first + i) % len(self.pictures)], ()) for i in range(len(items))]

    async def measure(self, _: str, pictures: Sequence[Picture], *__: object) -> list[list[Response]]:
        map_ = np.linspace(0, 1, 49, dtype=np.float16).reshape(7, 7)
        return [[Response(1.0, map_, Frame.whole(224, 224))] for _ in pictures]

    def lab(self, host: Host) -> Lab:
        everything: Any = self
        return Lab(Servers(everything, everything, everything, everything, everything), host, self)


def main() -> None:
    """Print the figures."""
    configure_logs(level="error", log_format="console")
    show(asyncio.run(_figures()))


async def _figures() -> list[tuple[str, str, str]]:
    rng = np.random.default_rng(0)
    small = [rng.integers(0, 255, (28, 28, 3), np.uint8) for _ in range(ROUNDS * PICTURES)]
    pictures = [Picture(encode_png(one.repeat(8, 0).repeat(8, 1)), "image/png", 224, 224) for one in small]
    rows: list[tuple[str, str, str]] = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        host = await stack.enter_async_context(Host(cache_dir=folder / "cache"))
        for name, code, asked in (
            ("pictures", ORIGINALS, "≤ 20 ms"),
            ("masked views, composed and encoded", VIEWS, ""),
        ):
            seconds: list[float] = []
            for repeat in range(3):
                answers = Answers(pictures, code)
                out = folder / f"{name[:8]}{repeat}"
                await investigate_unit(UNIT, answers.lab(host), RunSettings("bench", out, policy="off"))
                times = answers.asked_at
                seconds += [b - a for a, b in pairwise(times[1:])]
            rows.append((f"own time per round, {PICTURES} {name}", asked, f"{statistics.median(seconds) * 1e3:.1f} ms"))
        rows.append(await _resume(folder / "pictures0", pictures, host))
        rows += _many(folder / "pictures0", folder / "many")
    return rows


async def _resume(out: Path, pictures: Sequence[Picture], host: Host) -> tuple[str, str, str]:
    whole = unit_folder(out, "bench", UNIT)
    again = out.with_name("resumed")
    folder = unit_folder(again, "bench", UNIT)
    shutil.copytree(whole, folder)
    lines = (folder / FILE_NAME).read_bytes().splitlines(keepends=True)
    (folder / FILE_NAME).write_bytes(b"".join(lines[:-2]))  # without the last reply and the end
    answers = Answers(pictures, ORIGINALS)
    started = time.perf_counter()
    await investigate_unit(UNIT, answers.lab(host), RunSettings("bench", again, policy="off"))
    return f"resume of {ROUNDS} rounds to the next request", "≤ 2 s", f"{answers.asked_at[0] - started:.2f} s"


def _many(one: Path, out: Path) -> list[tuple[str, str, str]]:
    """Many finished units: copies of one journal, each naming its own, with hard links to its pictures."""
    whole = unit_folder(one, "bench", UNIT)
    started = time.perf_counter()
    write_unit(whole, None)
    page = time.perf_counter() - started
    first, _, rest = (whole / FILE_NAME).read_bytes().partition(b"\n")
    started_event, task = decode_line(first + b"\n"), load_task("neuron_description")
    assert isinstance(started_event, RunStarted)
    for index in range(UNITS):
        unit = UnitName("bench", "layer1", index)
        folder = unit_folder(out, "bench", unit)
        shutil.copytree(whole, folder, copy_function=_link)
        journal = encode_line(replace(started_event, unit=unit)) + rest
        stored = json.loads((whole / RESULT).read_bytes())
        stored |= {"unit": asdict(unit), "journal_sha256": hashlib.sha256(journal).hexdigest()}
        for name, data in ((FILE_NAME, journal), (RESULT, json.dumps(stored).encode())):
            (folder / name).unlink()
            (folder / name).write_bytes(data)
    rebuild(out, lambda _: None)
    started = time.perf_counter()
    rebuild(out, lambda _: None)
    report = time.perf_counter() - started
    started = time.perf_counter()
    for index in range(UNITS):
        unit = UnitName("bench", "layer1", index)
        assert earlier_result(unit_folder(out, "bench", unit), unit, "bench", task) is not None
    nothing = time.perf_counter() - started + report  # a run ends with the same index
    return [
        (f"a page of {ROUNDS} rounds", "≤ 0.3 s", f"{page:.2f} s"),
        (f"maia report of {UNITS} units, nothing changed", "≤ 3 s", f"{report:.2f} s"),
        (f"maia run of {UNITS} finished units, without start-up and servers", "≤ 2 s", f"{nothing:.2f} s"),
    ]


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)
