"""Answers a session's tool calls: a check of form, of quotas, of arguments, then the tool, then the result back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ProtocolError, ToolError
from maia.sandbox.host.quotas import Quotas
from maia.sandbox.limits import Limits
from maia.sandbox.protocol.frames import MAX_FRAME_BYTES
from maia.sandbox.protocol.types import ImageRef
from maia.sandbox.protocol.values import decode_call, encode_value

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from maia.sandbox.host.answers import Clock
    from maia.sandbox.host.tools import ImageSource, Tool

__all__ = ["IMAGE_CALLS", "Broker", "bounded"]

IMAGE_CALLS: Final = ("_image.pixels", "_image.encoded", "_image.source")
"""The reserved names, by which handles fetch what they stand for."""

_MAX_ERROR_CHARS: Final = 4000
_MAX_RESULT_BYTES: Final = MAX_FRAME_BYTES - 1024
"""Room for what stands around a result in a frame."""


class Broker:
    """The `Answers` of a session whose tools are here: its tools and images, and nothing of any other session's."""

    def __init__(self, tools: Sequence[Tool], images: ImageSource | None, limits: Limits | None = None) -> None:
        """Take what the session may use.

        Args:
            tools: By name, what its code may call.
            images: Resolves image references; without it there are none.
            limits: tool_calls, tool_bytes and images count; the defaults of `Limits` if None.
        """
        self._tools = {tool.spec.name: tool for tool in tools}
        self._images = images
        self._quotas = Quotas(limits or Limits())
        self._last_id = 0
        self._marked_id = 0
        self._running: asyncio.Task[object] | None = None
        self._given_up = False
        self.calls = 0

    def begin_block(self) -> None:
        """Count anew."""
        self.calls = 0
        self._given_up = False

    def give_up(self) -> None:
        """The block is to stop: cancel the call that runs, and answer later ones with that."""
        self._given_up = True
        if self._running is not None:
            self._running.cancel()

    def mark(self) -> None:
        """Remember the last call's id; see `Answers.mark`."""
        self._marked_id = self._last_id

    def rewind(self) -> None:
        """Go back to the marked id; see `Answers.rewind`."""
        self._last_id = self._marked_id

    async def answer(self, call: pb.ToolCall, watch: Clock) -> pb.ToolResult:
        """Execute one call.

        Raises:
            ProtocolError: An id out of order, an unknown tool, or values outside the codec's rules.
            TypeError: The tool returned what cannot be passed.
            Exception: What the tool raised other than ToolError.
        """
        self._last_id += 1
        if call.call_id != self._last_id:
            raise ProtocolError(f"tool call {call.call_id} where {self._last_id} comes next")
        self.calls += 1
        try:
            work = self._prepare(call)  # on the block's time, for the block chose how much there is to read
            watch.tool_began()
            value = await self._run(work)
            return self._result(call, value)
        except ToolError as error:
            return pb.ToolResult(call_id=call.call_id, error=bounded(str(error)))
        finally:
            watch.tool_ended()

    def _prepare(self, call: pb.ToolCall) -> Coroutine[object, object, object]:
        """Find the tool, count the call and fit the arguments."""
        tool = self._tools.get(call.name)
        if tool is None and call.name not in IMAGE_CALLS:
            raise ProtocolError(f"a call of {call.name[:100]!r}, which is no tool of this session")
        self._quotas.charge_call(call)
        arguments, keywords = decode_call(call.arguments, call.keywords)
        if tool is None:
            return self._image(call.name, arguments)
        return tool.call(tool.bind(arguments, keywords))

    async def _image(self, name: str, arguments: list[object]) -> object:
        """The reserved names."""
        if len(arguments) != 1 or not isinstance(arguments[0], ImageRef):
            raise ProtocolError(f"a call of {name!r} that is not with one image reference")
        if self._images is None:
            raise ToolError("this session has no images")
        ref_id = arguments[0].id
        if name == "_image.pixels":
            return await self._images.pixels(ref_id)
        if name == "_image.encoded":
            return await self._images.encoded(ref_id)
        return self._images.source(ref_id)

    def _result(self, call: pb.ToolCall, value: object) -> pb.ToolResult:
        """What goes back to the guest."""
        try:
            result = pb.ToolResult(call_id=call.call_id, value=encode_value(value))
        except ProtocolError as error:  # the tool's fault, and no word of the guest's
            raise TypeError(f"tool {call.name} returned what cannot be passed: {error}") from error
        if result.ByteSize() > _MAX_RESULT_BYTES:
            raise ToolError(
                f"{call.name}: the result has {result.ByteSize():,} bytes; at most {_MAX_RESULT_BYTES:,} can be "
                "passed. Ask for less at a time."
            )
        self._quotas.charge_result(call.name, result)
        return result

    def _stopping(self) -> bool:
        return self._given_up

    async def _run(self, work: Coroutine[object, object, object]) -> object:
        """Run a call so that `give_up` can cancel it and nothing else."""
        if self._stopping():
            work.close()
            raise ToolError("the block is being stopped")
        self._running = task = asyncio.ensure_future(work)
        try:
            return await task
        except asyncio.CancelledError:
            if self._stopping() and task.cancelled():
                raise ToolError("the block is being stopped") from None
            task.cancel()
            raise
        finally:
            self._running = None


def bounded(text: str) -> str:
    """Cut an error's text to what a guest is told, and to what can be passed."""
    clean = text.encode("utf-8", "replace").decode()
    return clean if len(clean) <= _MAX_ERROR_CHARS else clean[:_MAX_ERROR_CHARS] + " ... (cut)"
