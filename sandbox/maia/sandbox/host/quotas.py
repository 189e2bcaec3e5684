"""How much a session may ask of its tools over its life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maia.sandbox.limits import Limits

__all__ = ["FETCHES", "Quotas"]

FETCHES: Final = ("_image.pixels", "_image.encoded")
"""The reserved names that bring an image into the guest."""


class Quotas:
    """Counts calls, bytes and images of one session. What is counted stays counted, also when a checkpoint goes on."""

    def __init__(self, limits: Limits) -> None:
        """Start at zero.

        Args:
            limits: tool_calls, tool_bytes and images count.
        """
        self._limits = limits
        self._calls = 0
        self._bytes = 0
        self._images = 0

    def charge_call(self, call: pb.ToolCall) -> None:
        """Count a call before it is executed; one that is refused counts for nothing.

        Raises:
            ToolError: It would exceed a quota; the text says which, how much, and what to do.
        """
        limits = self._limits
        size = call.ByteSize()
        images = _images_of(call, most=limits.images - self._images)
        for what, used, wanted, quota in (
            ("tool calls (tool_calls)", self._calls, 1, limits.tool_calls),
            ("bytes of tool calls (tool_bytes)", self._bytes, size, limits.tool_bytes),
            ("images (images)", self._images, images, limits.images),
        ):
            if wanted and used + wanted > quota:
                raise ToolError(
                    f"{call.name[:100]}: nothing was done, for it is beyond the session's quota of {what}: {quota:,} "
                    f"over its life, {quota - used:,} left. Go on with what you have."
                )
        self._calls += 1
        self._bytes += size
        self._images += images

    def charge_result(self, name: str, result: pb.ToolResult) -> None:
        """Count a result before it is handed to the guest.

        Raises:
            ToolError: It would exceed the quota of bytes.
        """
        size = result.ByteSize()
        if self._bytes + size > self._limits.tool_bytes:
            left = self._limits.tool_bytes - self._bytes
            raise ToolError(
                f"{name}: the result has {size:,} bytes, beyond the session's quota of bytes of tool calls "
                f"(tool_bytes): {self._limits.tool_bytes:,} over its life, {left:,} left. "
                "Ask for less, or go on with what you have."
            )
        self._bytes += size


def _images_of(call: pb.ToolCall, *, most: int) -> int:
    """Images that a call carries or fetches; counting ends once there are more than `most`."""
    count = int(call.name in FETCHES)
    pending: list[Iterator[pb.Value]] = [iter(call.arguments), iter(call.keywords.values())]
    while pending and count <= most:
        value = next(pending[-1], None)
        if value is None:
            pending.pop()
            continue
        kind = value.WhichOneof("kind")
        if kind == "pixels":
            count += 1
        elif kind in ("list", "tuple"):
            pending.append(iter(getattr(value, kind).items))
        elif kind == "map":
            pending.append(part for entry in value.map.entries for part in (entry.key, entry.value))
    return count
