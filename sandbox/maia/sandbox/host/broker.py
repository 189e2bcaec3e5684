"""Answering one guest's tool calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ProtocolError, ToolError
from maia.sandbox.protocol.types import ImageRef
from maia.sandbox.protocol.values import decode_value, encode_value

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from maia.sandbox.host.tools import ImageSource, Tool
    from maia.sandbox.host.watch import Watch

__all__ = ["Broker"]

_MAX_ERROR_CHARS: Final = 4000
_IMAGE_CALLS: Final = ("_image.pixels", "_image.encoded", "_image.source")


class Broker:
    """Holds a session's tools and images, and nothing of any other session's."""

    def __init__(self, tools: Sequence[Tool], images: ImageSource | None) -> None:
        """Take what the session may use."""
        self._tools = {tool.spec.name: tool for tool in tools}
        self._images = images
        self._last_id = 0
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

    async def answer(self, call: pb.ToolCall, watch: Watch) -> pb.ToolResult:
        """Execute one call.

        Raises:
            ProtocolError: An id out of order, an unknown tool, or values outside the codec's rules.
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
            return pb.ToolResult(call_id=call.call_id, value=encode_value(value))
        except ToolError as error:
            return pb.ToolResult(call_id=call.call_id, error=_bounded(str(error)))
        finally:
            watch.tool_ended()

    def _prepare(self, call: pb.ToolCall) -> Coroutine[object, object, object]:
        """Find the tool and fit the arguments."""
        arguments = [decode_value(value) for value in call.arguments]
        keywords = {name: decode_value(value) for name, value in call.keywords.items()}
        if call.name.startswith("_image."):
            return self._image(call.name, arguments)
        tool = self._tools.get(call.name)
        if tool is None:
            raise ProtocolError(f"a call of {call.name[:100]!r}, which is no tool of this session")
        return tool.call(tool.bind(arguments, keywords))

    async def _image(self, name: str, arguments: list[object]) -> object:
        """The reserved names, by which handles fetch what they stand for."""
        if name not in _IMAGE_CALLS or len(arguments) != 1 or not isinstance(arguments[0], ImageRef):
            raise ProtocolError(f"a call of {name[:100]!r}, which is no reserved name, or not with one image reference")
        if self._images is None:
            raise ToolError("this session has no images")
        ref_id = arguments[0].id
        if name == "_image.pixels":
            return await self._images.pixels(ref_id)
        if name == "_image.encoded":
            return await self._images.encoded(ref_id)
        return self._images.source(ref_id)

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


def _bounded(text: str) -> str:
    clean = text.encode("utf-8", "replace").decode()
    return clean if len(clean) <= _MAX_ERROR_CHARS else clean[:_MAX_ERROR_CHARS] + " ... (cut)"
