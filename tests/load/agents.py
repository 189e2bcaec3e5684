"""Agents that make the tool calls of a script over one set of servers, at once or one after another."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from maia.orchestrator.clients import Addresses, Servers, open_servers
from maia.orchestrator.conversation import Part
from maia.orchestrator.events import UnitName
from maia.orchestrator.gateway import Gateway, GatewayLimits
from maia.orchestrator.images import ImageTable
from maia.orchestrator.journal import JournalWriter
from maia.orchestrator.record import Record
from maia.orchestrator.toolbox import Study, run_tag
from maia.sandbox import ImageRef, Namespace

_COLOURS: Final = ("red", "blue", "green", "yellow")
_SHAPES: Final = ("circle", "square", "star", "triangle")
_PATTERN: Final = ("draw", "measure", "measure", "edit", "measure", "describe", "exemplars", "summarise")
"""What each agent does, over and over: all wait for the same kinds of work, so that their waits can be compared."""


class _Nowhere:
    def call_begins(self) -> None:
        pass

    def show(self, parts: Sequence[Part]) -> None:
        """Drop them."""


@dataclass
class Told:
    """What an agent was told.

    Attributes:
        answers: In the order of its calls; of a picture, its bytes.
        waits_s: Seconds from each call to its answer.
    """

    answers: list[object] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)


@dataclass
class _Agent:
    number: int
    gateway: Gateway
    images: ImageTable
    told: Told = field(default_factory=Told)

    async def work(self, calls: int) -> Told:
        dice = random.Random(self.number)
        refs: list[ImageRef] = []
        for index in range(calls):
            kind = _PATTERN[index % len(_PATTERN)]
            things = [f"a {dice.choice(_COLOURS)} {dice.choice(_SHAPES)}" for _ in range(2)]
            if kind == "draw":
                answer = await self._call("tools.text2image", prompts=things)
                assert isinstance(answer, list)
                refs = answer
            elif kind == "edit":
                await self._call("tools.edit_images", images=refs[:1], edits=["make it " + dice.choice(_COLOURS)])
            elif kind == "describe":
                await self._call("tools.describe_images", images=refs, titles=["first", "second"])
            elif kind == "exemplars":
                await self._call("tools.dataset_exemplars", system=Namespace("system"))
            elif kind == "summarise":
                await self._call("tools.summarize_images", images=refs)
            else:
                await self._call("system.call_neuron", images=refs)
        return self.told

    async def _call(self, tool: str, **arguments: object) -> object:
        started = time.perf_counter()
        answer = await self.gateway.call(tool, arguments)
        self.told.waits_s.append(time.perf_counter() - started)
        self.told.answers.append(self._plain(answer))
        return answer

    def _plain(self, answer: object) -> object:
        if isinstance(answer, ImageRef):
            source = self.images.source(answer.id)
            return self.images.picture(source.id).data
        if isinstance(answer, list | tuple):
            return [self._plain(item) for item in answer]
        return answer


async def run_agents(address: str, folder: Path, *, agents: int, calls: int, at_once: bool) -> list[Told]:
    """Let agents, each with a unit of its own, make their calls.

    Args:
        address: Of all five servers.
        folder: For journals.
        agents: How many, numbered from 0; each number asks the same every time.
        calls: Of each.
        at_once: All together, or one after another.
    """
    async with open_servers(Addresses(*[address] * 5), ready_s=60.0) as servers:
        if at_once:
            return list(await asyncio.gather(*(_one(servers, folder, number, calls) for number in range(agents))))
        return [await _one(servers, folder, number, calls) for number in range(agents)]


async def _one(servers: Servers, folder: Path, number: int, calls: int) -> Told:
    unit = UnitName("scene-neurons", "mono", number)
    with JournalWriter(folder / str(number)) as journal:
        record = Record(journal)
        images = ImageTable(record, tag=run_tag(number, unit))
        study = Study(servers, images, unit, "", seed=number)
        gateway = Gateway(study, record, _Nowhere(), GatewayLimits(calls=calls))
        return await _Agent(number, gateway, images).work(calls)
