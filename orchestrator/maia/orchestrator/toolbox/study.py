"""What the tools of one run share, and what belongs to one call of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from maia.orchestrator.clients import Response, Servers, Terms, Unit
from maia.orchestrator.conversation import Part
from maia.orchestrator.events import UnitName
from maia.orchestrator.images import ImageTable, MaskRecipe
from maia.sandbox import ImageRef
from maia.wire.errors import NotFoundError

EXEMPLARS_MISSING: Final = "EXEMPLARS_MISSING"

NO_THRESHOLD: Final = (
    "No activation threshold over the dataset is stored for this neuron: masked views light up the strongest 5 % of"
    " each picture instead."
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool.

    Attributes:
        number: Counts through the whole run; enters the seeds.
        terms: The deadline and ids of its requests to servers.
        notes: Filled by the tool: what the agent should know beside the result, a sentence each.
        shown: Filled by the tool: what it displays.
    """

    number: int
    terms: Terms
    notes: list[str] = field(default_factory=list)
    shown: list[Part] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        """Tell the agent something once."""
        if sentence not in self.notes:
            self.notes.append(sentence)


@dataclass(slots=True)
class Study:
    """One unit under study: the servers, the images, and what was asked of the servers once for all.

    Attributes:
        servers: Shared with other runs.
        images: This run's.
        unit: Which unit.
        revision: `SubjectInfo.revision` of the subject.
        seed: The run's; every seed of a picture derives from it.
        exemplars: What the first call of `tools.dataset_exemplars` returned.
    """

    servers: Servers
    images: ImageTable
    unit: UnitName
    revision: str
    seed: int
    exemplars: list[tuple[float, ImageRef]] | None = None
    _threshold: float | None = None
    _asked: bool = False
    _noted: bool = False

    @property
    def channel(self) -> Unit:
        """The unit as the servers name it."""
        return Unit(self.unit.layer, self.unit.index)

    async def threshold(self, call: Call) -> float | None:
        """Return the threshold of the unit's masks from the exemplar store, None where there is none.

        The first call that meets none gets a note.
        """
        if not self._asked:
            try:
                self._threshold = await self.servers.exemplars.threshold(
                    self.unit.model, self.revision, self.channel, call.terms
                )
            except NotFoundError as error:
                if error.reason != EXEMPLARS_MISSING:
                    raise
            if self._threshold is None and not self._noted:
                call.note(NO_THRESHOLD)
            self._asked = self._noted = True
        return self._threshold

    def recall(self, tool: str, value: object, notes: Sequence[str]) -> None:
        """Know again what an answered call of an earlier process has left behind.

        Args:
            tool: Its name.
            value: What it returned.
            notes: What the agent was told beside that.
        """
        if tool == "tools.dataset_exemplars" and self.exemplars is None:
            # A value that this very tool has returned, though a type checker cannot know it.
            self.exemplars = cast("list[tuple[float, ImageRef]]", value)
        if tool == "system.call_neuron" and NO_THRESHOLD in notes:
            self._noted = True

    def recipe(self, response: Response, threshold: float | None) -> MaskRecipe:
        """Return how to mask a picture by the unit's response to it."""
        return MaskRecipe.of(self.unit, response.activation, response.map, response.frame, threshold)


def run_tag(seed: int, unit: UnitName) -> str:
    """Return the short name of a run, which begins its image ids; the same when the run is repeated."""
    name = json.dumps([seed, unit.model, unit.layer, unit.index])
    return f"img-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def seed_of(run_seed: int, unit: UnitName, call: int, index: int) -> int:
    """Return the seed of one picture: the same for the same run, another for every call and picture.

    Returns:
        0 to 2**53 - 1, so that every JSON reader keeps it exact.
    """
    name = json.dumps([run_seed, unit.model, unit.layer, unit.index, call, index])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 11
