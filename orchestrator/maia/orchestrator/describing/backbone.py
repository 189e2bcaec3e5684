"""Describing by a backbone: one picture a request, several requests at once, no question paid for twice.

A summary is asked of descriptions, so that any number of pictures fits.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from string import Template
from typing import Final

import numpy as np
from PIL import Image

from maia.orchestrator.budget import Ledger
from maia.orchestrator.clients import Region
from maia.orchestrator.conversation import Message, Part, Picture, Text, TokenUsage
from maia.orchestrator.events import DescriberReply, Event
from maia.orchestrator.images.table import SHOWN_SIDE
from maia.orchestrator.journal import PAID_PATIENCE_S
from maia.orchestrator.protocols import Backbone
from maia.orchestrator.record import Record
from maia.orchestrator.toolbox import Call
from maia.sandbox import ToolError
from maia.wire.maps import darken
from maia.wire.pictures import decode, encode_png

AT_ONCE: Final = 4
"""Requests of one call that are under way together: vendors bound the rate, and other units ask too."""

_NO_WORDS: Final = "(no description was given)"
_PROMPTS: Final = ("system", "region", "picture", "summary")


def answered(events: Iterable[Event]) -> dict[str, str]:
    """Return the answers that a journal holds, by what identifies the question."""
    return {event.digest: event.text for event in events if isinstance(event, DescriberReply)}


@dataclass(slots=True)
class BackboneDescriber:
    """A backbone that describes and summarises for one run.

    Attributes:
        backbone: Is asked.
        record: Journals each reply as it arrives.
        ledger: What the run may spend.
        cost: What a reply cost in US dollars, None where nobody knows.
        known: Answers by digest: those that the run's journal holds, and every one that arrives.
    """

    backbone: Backbone
    record: Record
    ledger: Ledger
    cost: Callable[[TokenUsage], float | None]
    known: dict[str, str] = field(default_factory=dict)
    _prompts: dict[str, str] = field(default_factory=lambda: {name: _prompt(name) for name in _PROMPTS})

    async def describe(self, regions: Sequence[Region], call: Call) -> list[str]:
        """See `toolbox.describer.Describer`."""
        digests = [await asyncio.to_thread(self._digest, region) for region in regions]
        fresh = {digest: place for place, digest in reversed(list(enumerate(digests))) if digest not in self.known}
        asking = asyncio.Semaphore(AT_ONCE)
        failed = False

        async def ask(digest: str, place: int) -> None:
            nonlocal failed
            async with asking:
                if failed:
                    return
                try:
                    await self._ask(await self._shown(regions[place]), digest, place, call)
                except BaseException:
                    failed = True
                    raise

        # All that were sent are waited for: a reply that arrives is paid for, and so is journaled.
        outcomes = await asyncio.gather(
            *(ask(*item) for item in sorted(fresh.items(), key=lambda item: item[1])), return_exceptions=True
        )
        faults = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if faults:
            # What the system did wrong goes before what the agent's code is told.
            raise min(faults, key=lambda fault: isinstance(fault, ToolError))
        return [self.known[digest] for digest in digests]

    async def summarize(self, regions: Sequence[Region], call: Call) -> str:
        """See `toolbox.describer.Describer`."""
        descriptions = await self.describe(regions, call)
        lines = "\n".join(f"{place}. {' '.join(text.split())}" for place, text in enumerate(descriptions, 1))
        question = Template(self._prompts["summary"]).substitute(descriptions=lines, count=len(regions))
        digest = self._identify(question)
        if digest not in self.known:
            await self._ask([Text(question)], digest, len(regions), call)
        return self.known[digest]

    async def _ask(self, parts: Sequence[Part], digest: str, index: int, call: Call) -> None:
        if spent := self.ledger.spent:
            raise ToolError(f"the budget is used up ({spent}); conclude from what you have")
        started = time.monotonic()
        reply = await self.backbone.reply(self._prompts["system"], [Message("user", tuple(parts))])
        text = reply.text.strip() or _NO_WORDS
        await self.record.journal.put(
            DescriberReply(
                call=call.number,
                index=index,
                digest=digest,
                text=text,
                model=reply.model,
                seconds=round(time.monotonic() - started, 3),
                pictures=sum(isinstance(part, Picture) for part in parts),
                usage=asdict(reply.usage),
                stop_reason=reply.stop_reason,
                usd=self.cost(reply.usage),
            ),
            patience_s=PAID_PATIENCE_S,
        )
        self.known[digest] = text

    async def _shown(self, region: Region) -> list[Part]:
        prompt = self._prompts["picture" if region.mask is None else "region"]
        return [await asyncio.to_thread(_drawn, region), Text(prompt)]

    def _digest(self, region: Region) -> str:
        if region.mask is None:
            return self._identify(self._prompts["picture"], region.picture.sha256)
        mask = hashlib.sha256(f"{region.mask.shape} ".encode() + np.packbits(region.mask).tobytes()).hexdigest()
        return self._identify(self._prompts["region"], region.picture.sha256, mask)

    def _identify(self, *question: str) -> str:
        whole = "\0".join((self.backbone.name, self._prompts["system"], *question))
        return hashlib.sha256(whole.encode()).hexdigest()


def _drawn(region: Region) -> Picture:
    """Return what is shown of a region: masked as the agent sees it, and no larger than displayed pictures are."""
    picture = region.picture
    large = max(picture.width, picture.height) > SHOWN_SIDE
    if region.mask is None and not large:
        return picture
    rgb = decode(picture.data)
    if region.mask is not None:
        rgb = darken(rgb, region.mask)
    if large:
        scale = SHOWN_SIDE / max(rgb.shape[:2])
        size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
        rgb = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))
    return Picture(encode_png(rgb), "image/png", rgb.shape[1], rgb.shape[0])


def _prompt(name: str) -> str:
    return (resources.files(__package__) / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip()
