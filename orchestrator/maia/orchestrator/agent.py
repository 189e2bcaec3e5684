"""The loop: ask the backbone, run its code, show it the results, until it concludes or its rounds are used up.

A run that an earlier process has begun is gone through from the start: what is journaled of it is taken from there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from maia.orchestrator.answers import Answer, answer_to_json
from maia.orchestrator.budget import Ledger, Standing
from maia.orchestrator.context import UNLIMITED, ContextLimits, fitted
from maia.orchestrator.conversation import Message, Part, Picture, Reply, Text, TokenUsage, merge_text
from maia.orchestrator.events import BackboneReply, Finished, PartEvent, PicturePart, UserMessage, Why
from maia.orchestrator.journal import PAID_PATIENCE_S
from maia.orchestrator.parsing import ParsedReply, parse_reply
from maia.orchestrator.pausing import Pause
from maia.orchestrator.protocols import Backbone, Workbench
from maia.orchestrator.record import Record
from maia.orchestrator.tasks import Task
from maia.wire import tracing

FINAL_REPLIES: Final = 2
"""Replies after the last round: one to conclude, one to mend its form. Then the run ends."""

_EMPTY: Final = "(empty reply)"  # vendors refuse an assistant's message without text


@dataclass(frozen=True, slots=True)
class Agent:
    """One investigation of one unit.

    Attributes:
        backbone: Writes the experiments.
        workbench: Runs them.
        record: Journals all of it.
        task: What is asked.
        system_prompt: As journaled when the run started.
        max_rounds: Replies whose code is run.
        pause: Asked before every round.
        unit: The unit in words, for tasks whose text names it.
        limits: Of one request to the backbone.
        ledger: What the run may spend and has spent; it must listen to the journal.
        cost: What a reply cost in US dollars, None where nobody knows.
    """

    backbone: Backbone
    workbench: Workbench
    record: Record
    task: Task
    system_prompt: str
    max_rounds: int
    pause: Pause = field(default_factory=Pause)
    unit: str = ""
    limits: ContextLimits = UNLIMITED
    ledger: Ledger = field(default_factory=Ledger)
    cost: Callable[[TokenUsage], float | None] = lambda _: None

    async def run(self) -> Finished:
        """Investigate to the end and journal it.

        Returns:
            The conclusion, or "no_conclusion" when there was none after the final instructions.

        Raises:
            PausedError: It was asked to pause.
            BackboneError: The backbone cannot answer.
            MaiaError: A server or the sandbox failed for good. Nothing that the system did wrong is shown to the
                backbone as evidence.
        """
        messages = [await self._task()]
        conclusion: Answer | None = None
        last, told = self.max_rounds, False  # the last round; whether the agent knows that its budget is nearly spent
        number = rounds = 0
        while number < last + FINAL_REPLIES:
            self.pause.check()
            number += 1
            before = self.record.tape.messages.get(number)
            with self._traced(number) if before is None else contextlib.nullcontext():
                reply = await self._query(number, messages)
                parsed = parse_reply(reply.text, self.task.form)
                in_rounds = number <= last
                rounds = min(number, last)
                # Of a conclusion that was cut the last label may be half a one.
                if before is None and concludes(parsed, code_counts=in_rounds) and not reply.cut:
                    conclusion = parsed.conclusion
                    break
                messages.append(Message("assistant", (Text(reply.text if reply.text.strip() else _EMPTY),)))
                if before is None and number == last + FINAL_REPLIES:
                    break
                if before is None:
                    message, said = await self._next(number, reply.text, parsed, last, told=told)
                else:
                    message, said = Message("user", self.record.restored(before.parts)), before
            messages.append(message)
            last = number if said.why == "final" else last
            told = told or said.budget != ""
        finished = Finished(
            how="concluded" if conclusion else "no_conclusion",
            description=conclusion.description if conclusion else "",
            labels=list(conclusion.labels) if conclusion else [],
            answer=answer_to_json(conclusion) if conclusion else {},
            rounds=rounds,
            tool_calls=self.record.tool_calls,
            seconds=round(self.record.journal.seconds, 3),
            usage=dict(self.ledger.spending.usage),
            usd=self.ledger.spending.usd,
        )
        await self.record.journal.put(finished)
        return finished

    def _traced(self, number: int) -> contextlib.AbstractContextManager[tracing.Span]:
        """Begin the trace of a round. One that an earlier process has made is in a trace already."""
        about: dict[str, tracing.Value] = {"maia.unit": self.unit, "maia.round": number, "maia.task": self.task.name}
        return tracing.span("round", about, root=True)

    async def _task(self) -> Message:
        """Return the first message."""
        before = self.record.tape.messages.get(0)
        if before is not None:
            return Message("user", self.record.restored(before.parts))
        said, _ = await self._say(0, "task", [Text(self.task.task_prompt(rounds=self.max_rounds, unit=self.unit))])
        return said

    async def _next(
        self, number: int, reply: str, parsed: ParsedReply, last: int, *, told: bool
    ) -> tuple[Message, UserMessage]:
        """Do what reply `number` asks for and return the message that follows it."""
        in_rounds = number <= last
        why, parts = await self._answer(number, reply, parsed, run_code=in_rounds)
        standing, remark = self.ledger.remark(told=told, in_rounds=in_rounds)
        parts = [*parts, Text(remark)]
        if number == last or standing == "spent":
            why, parts = "final", [*parts, Text(self.task.reminder("final"))]
        return await self._say(number, why, parts, standing)

    async def _query(self, number: int, messages: list[Message]) -> Reply:
        if (known := self.record.reply(number)) is not None:
            return known
        started = time.monotonic()
        with tracing.span("chat", kind="client") as span:
            reply = await self.backbone.reply(self.system_prompt, fitted(self.system_prompt, messages, self.limits))
            tokens = {f"maia.tokens.{kind}": count for kind, count in asdict(reply.usage).items()}
            span.note({"gen_ai.response.model": reply.model, **tokens})
        event = BackboneReply(
            round=number,
            text=reply.text,
            model=reply.model,
            seconds=round(time.monotonic() - started, 3),
            usage=asdict(reply.usage),
            stop_reason=reply.stop_reason,
            usd=self.cost(reply.usage),
        )
        await self.record.journal.put(event, patience_s=PAID_PATIENCE_S)
        return reply

    async def _answer(self, number: int, reply: str, parsed: ParsedReply, *, run_code: bool) -> tuple[Why, list[Part]]:
        """Do what the reply asks for and say what came of it, or what the reply lacks."""
        if parsed.blocks and run_code:
            parts = await self._experiment(number, parsed)
            if parsed.conclusion is not None:
                parts.append(Text(self.task.reminder("unproven")))
            return "results", parts
        if not run_code:
            return "format", [Text(self.task.reminder("format"))]
        if parsed.unclosed:
            return "cut_block", [Text(self.task.reminder("cut_block"))]
        if parsed.conclusion is not None:
            return "format", [Text(self.task.reminder("format"))]
        why: Why = "no_code" if reply.strip() else "empty_reply"
        return why, [Text(self.task.reminder(why))]

    async def _experiment(self, number: int, parsed: ParsedReply) -> list[Part]:
        """Run the blocks in order; after one that failed, the rest would build on what is not there."""
        parts: list[Part] = []
        total = len(parsed.blocks)
        for position, code in enumerate(parsed.blocks, 1):
            shown = await self.workbench.run(number, code)
            if total > 1:
                parts.append(Text(f"--- Block {position} of {total} ---"))
            parts += shown.parts
            if not shown.ok and position < total:
                parts.append(
                    Text(f"The {total - position} later block(s) were not run, since block {position} failed.")
                )
                break
        if parsed.unclosed:
            parts.append(Text(self.task.reminder("cut_block")))
        return parts

    async def _say(
        self, number: int, why: Why, parts: list[Part], standing: Standing = ""
    ) -> tuple[Message, UserMessage]:
        merged = merge_text(parts)
        await self.record.store(merged)
        event = UserMessage(round=number, why=why, parts=[self.record.part(part) for part in merged], budget=standing)
        await self.record.journal.put(event)
        return Message("user", named(merged, event.parts)), event


def named(parts: Sequence[Part], events: Sequence[PartEvent]) -> tuple[Part, ...]:
    """Return the parts of a message with its pictures named as the journal names them."""
    return tuple(
        replace(part, name=event.image_id) if isinstance(part, Picture) and isinstance(event, PicturePart) else part
        for part, event in zip(parts, events, strict=True)
    )


def concludes(parsed: ParsedReply, *, code_counts: bool) -> bool:
    """Tell whether a reply ends the run: a whole conclusion, and no code whose results it could not know.

    Args:
        parsed: The reply.
        code_counts: False after the last round, when code is not run and so holds up nothing.
    """
    whole = parsed.conclusion is not None and parsed.conclusion.complete
    return whole and not (code_counts and (parsed.blocks or parsed.unclosed))
