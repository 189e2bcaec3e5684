"""The gateway: from a guest's tool call to an answer.

A call is bound to the tool's signature, numbered, journaled, executed with a deadline, and journaled again. What the
agent's code did wrong becomes a ToolError, which the code sees. What the system did wrong is asked again while the
block waits (its wall clock stands still), and raised if that does not help: it ends the session and is never shown to
an agent as evidence (ADR 5).

What an earlier process has journaled of the run is not asked of a server again. The calls of a block that was cut short
are answered as they were and journaled once more, in their places; those of a block that runs again only for its
variables are answered and not journaled.
"""

from __future__ import annotations

import contextlib
import inspect
import time
import types
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from maia.orchestrator.clients import Terms
from maia.orchestrator.conversation import Part, Text
from maia.orchestrator.events import ToolCalled, ToolReturned
from maia.orchestrator.gateway.forms import digest, exact, for_readers, recalled
from maia.orchestrator.patience import PATIENCE_S, Attempts
from maia.orchestrator.record import Record, Rerun
from maia.orchestrator.tape import RecordedCall
from maia.orchestrator.toolbox import TOOLS, Call, Study, Toolbox, ToolFunction, constants, tool_specs
from maia.orchestrator.toolbox.arguments import admit
from maia.sandbox import Tool, ToolError, ToolSpec
from maia.wire import tracing
from maia.wire.calls import call_metadata
from maia.wire.deadline import Deadline
from maia.wire.errors import InvalidRequestError

FAULTS_OF_CODE: Final = frozenset(
    {
        "CONTENT_REFUSED",
        "MESSAGE_TOO_LARGE",
        "PICTURE_TOO_LARGE",
        "PROMPT_EMPTY",
        "PROMPT_TOO_LONG",
        "REQUEST_EMPTY",
        "REQUEST_TOO_LARGE",
    }
)
"""Reasons of invalid requests that the agent's code can do something about; all others are faults of the system."""

log = structlog.stdlib.get_logger("maia.gateway")


class Sink(Protocol):
    """Takes what a block shows beside its output, in order."""

    def call_begins(self) -> None:
        """Journal all output so far: the call's events come next."""
        ...

    def show(self, parts: Sequence[Part]) -> None:
        """Show parts after all output so far."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayLimits:
    """Bounds on the calls of one run.

    Attributes:
        calls: Most calls.
        attempt_s: Deadline of one attempt at a call, all its requests together.
        patience_s: How long a call is tried again while a server is out of reach or full.
    """

    calls: int = 2000
    attempt_s: float = 300.0
    patience_s: float = PATIENCE_S


class Gateway:
    """Executes the tool calls of one run's sessions.

    Args:
        study: What is under study, and with which servers.
        record: Numbers and journals the calls.
        sink: Takes what tools display, and their notes.
        limits: Bounds of the run.
        tools: By name.
    """

    def __init__(
        self,
        study: Study,
        record: Record,
        sink: Sink,
        limits: GatewayLimits | None = None,
        tools: Mapping[str, ToolFunction] = TOOLS,
    ) -> None:
        self._study = study
        self._tools = tools
        self._record = record
        self._sink = sink
        self._limits = limits or GatewayLimits()

    def tools(self) -> tuple[Tool, ...]:
        """Return the tools for a session; one session at a time may use them."""
        return tuple(Tool(spec, self._entrance(spec)) for spec in tool_specs(self._tools))

    def constants(self) -> dict[str, object]:
        """Return the constants for a session, by dotted name."""
        return constants(self._study.unit)

    async def call(self, name: str, arguments: Mapping[str, object]) -> object:
        """Execute one call and journal it.

        Args:
            name: Of a tool.
            arguments: By parameter; of `*items`, a tuple.

        Raises:
            ToolError: The agent's code is at fault, or the run's bounds are reached.
            MaiaError: A server failed for good.
        """
        if self._record.rerun is not None:
            answered = await self._answered(self._record.rerun, name, arguments)
            if answered is not None:
                return self._value(answered)
        if self._record.tool_calls >= self._limits.calls:
            raise ToolError(f"this run has made its {self._limits.calls:,} tool calls; conclude from what you have")
        number = self._record.next_call()
        self._sink.call_begins()
        refusal: ToolError | None = None
        try:
            arguments = {key: await admit(value, self._study.images) for key, value in arguments.items()}
        except ToolError as error:
            refusal = error
        called = ToolCalled(
            block=self._record.blocks,
            call=number,
            tool=name,
            arguments={key: for_readers(value) for key, value in arguments.items()},
            digest=digest(name, arguments, self._study.images),
        )
        self._record.journal.append(called)
        before = self._answered_before(called)
        if before is not None:
            return self._repeated(before)
        started = time.monotonic()
        attempts = Attempts(name, self._limits.patience_s)
        notes: list[str] = []
        try:
            if refusal is not None:
                raise refusal
            with tracing.span(name, {"maia.call": number}, parent=self._record.trace) as span:
                call, value = await attempts.make(lambda: self._attempt(name, arguments, number, notes))
                span.note({"maia.attempts": attempts.made})
        except ToolError as error:
            self._record.journal.append(
                ToolReturned(call=number, seconds=_since(started), error=str(error), attempts=attempts.made)
            )
            raise
        self._record.journal.append(
            ToolReturned(
                call=number,
                seconds=_since(started),
                result=for_readers(value),
                value=exact(value),
                warnings=call.notes,
                attempts=attempts.made,
            )
        )
        parts = [*(Text(f"Note: {note}") for note in call.notes), *call.shown]
        if parts:
            self._sink.show(parts)
        return value

    async def _answered(self, rerun: Rerun, name: str, arguments: Mapping[str, object]) -> RecordedCall | None:
        """Return how a call was answered when its block ran before; None once the code goes another way."""
        calls = rerun.block.calls
        if rerun.diverged or rerun.calls >= len(calls):
            rerun.diverged = True
            return None
        before = calls[rerun.calls]
        with contextlib.suppress(ToolError):  # a refusal is an answer too, and what it refused has no other content
            arguments = {key: await admit(value, self._study.images) for key, value in arguments.items()}
        if (before.called.tool, before.called.digest) != (name, digest(name, arguments, self._study.images)):
            log.warning("a block that ran again made another call", call=before.called.call, tool=name)
            rerun.diverged = True
            return None
        rerun.calls += 1
        return before

    def _answered_before(self, called: ToolCalled) -> RecordedCall | None:
        """Return how a call of a block that was cut short was answered; None once its code goes another way."""
        before = self._record.tape.cut_calls.get(called.call)
        if before is None or self._record.rerun is not None or self._record.cut_diverged:
            return None
        if _same(before.called, called) and self._study.images.follow(before.images):
            return before
        self._record.cut_diverged = True
        return None

    def _repeated(self, before: RecordedCall) -> object:
        """Journal an answer again, for its block runs again, and give it."""
        for image in before.images:
            self._study.images.restore(image)
            self._record.journal.append(image)
        self._record.journal.append(before.returned)
        if not before.returned.error:
            self._study.recall(before.called.tool, recalled(before.returned.value), before.returned.warnings)
        if before.shown:
            self._sink.show(self._record.restored(before.shown))
        return self._value(before)

    def _value(self, call: RecordedCall) -> object:
        if call.returned.error:
            raise ToolError(call.returned.error)
        return recalled(call.returned.value)

    async def _attempt(
        self, name: str, arguments: Mapping[str, object], number: int, notes: list[str]
    ) -> tuple[Call, object]:
        terms = Terms(
            Deadline.after(self._limits.attempt_s), call_metadata(run=self._study.images.tag, call=str(number))
        )
        call = Call(number, terms, notes)
        bound = inspect.signature(self._tools[name]).bind_partial(Toolbox(self._study, call))
        bound.arguments.update(arguments)
        try:
            return call, await self._tools[name](*bound.args, **bound.kwargs)
        except InvalidRequestError as error:
            if error.reason in FAULTS_OF_CODE:
                raise ToolError(error.message) from error
            raise

    def _entrance(self, spec: ToolSpec) -> Callable[..., Awaitable[object]]:
        """The function that a session calls; arguments that do not fit the signature are the code's fault."""
        signature = inspect.signature(types.MethodType(self._tools[spec.name], object()))

        async def entrance(*arguments: object, **keywords: object) -> object:
            try:
                bound = signature.bind(*arguments, **keywords)
            except TypeError as error:
                raise ToolError(f"{spec.name}{spec.signature}: {error}") from None
            return await self.call(spec.name, bound.arguments)

        return entrance


def _same(one: ToolCalled, other: ToolCalled) -> bool:
    return (one.block, one.tool, one.digest) == (other.block, other.tool, other.digest)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 4)
