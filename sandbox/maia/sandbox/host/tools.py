"""What a session may call: tools with their arguments checked, and where its images are."""

from __future__ import annotations

import asyncio
import inspect
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from maia.sandbox.errors import ToolError
from maia.sandbox.host.arguments import check_argument, check_hint
from maia.sandbox.protocol.toolspec import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from maia.sandbox.protocol.types import ImageRef, Pixels

__all__ = ["ImageSource", "Tool"]


class ImageSource(Protocol):
    """The images of one session, by the ids in its references.

    Every method raises ToolError for an id that is not this session's: a guest can make up any.
    """

    async def pixels(self, ref_id: str) -> Pixels:
        """The image's raw pixels."""

    async def encoded(self, ref_id: str) -> bytes:
        """The image as a PNG file."""

    def source(self, ref_id: str) -> ImageRef:
        """What the image is a view of; itself if it is none."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that guest code may call, and what the guest is told about it.

    Attributes:
        spec: Name, signature, documentation.
        function: Sync or async, called with arguments that its type hints allow. A sync one runs in a thread. Raises
            ToolError for what is the caller's fault; anything else ends the session and leaves `Session.run`.
    """

    spec: ToolSpec
    function: Callable[..., object]
    _signature: inspect.Signature = field(init=False, repr=False)
    _hints: Mapping[str, object] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        signature = inspect.signature(self.function)
        hints = typing.get_type_hints(self.function)
        for parameter in signature.parameters:
            check_hint(hints.get(parameter, object), f"tool {self.spec.name}: parameter {parameter}")
        object.__setattr__(self, "_signature", signature)
        object.__setattr__(self, "_hints", hints)

    @classmethod
    def of(cls, function: Callable[..., object], name: str | None = None) -> Tool:
        """Make a tool of a typed Python function; see `ToolSpec.of`.

        Raises:
            ValueError: A parameter without a type hint, or one whose default is no literal.
            TypeError: A type hint that no value from a guest can have.
        """
        return cls(ToolSpec.of(function, name), function)

    def bind(self, arguments: Sequence[object], keywords: Mapping[str, object]) -> inspect.BoundArguments:
        """Fit a guest's arguments to the function, lists and tuples alike.

        Raises:
            ToolError: They do not fit; the message names the argument, what it must be and what it is.
        """
        name = self.spec.name
        try:
            bound = self._signature.bind(*arguments, **keywords)
        except TypeError as error:
            raise ToolError(f"{name}: {error}") from None
        for parameter, value in bound.arguments.items():
            hint = self._hints.get(parameter, object)
            kind = self._signature.parameters[parameter].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                checked: object = tuple(
                    check_argument(v, hint, f"{name}: argument {i}") for i, v in enumerate(value, 1)
                )
            elif kind is inspect.Parameter.VAR_KEYWORD:
                checked = {k: check_argument(v, hint, f"{name}: {k}") for k, v in value.items()}
            else:
                checked = check_argument(value, hint, f"{name}: {parameter}")
            bound.arguments[parameter] = checked
        return bound

    async def call(self, bound: inspect.BoundArguments) -> object:
        """Call the function with what `bind` returned."""
        if inspect.iscoroutinefunction(self.function):
            return await self.function(*bound.args, **bound.kwargs)
        result = await asyncio.to_thread(self.function, *bound.args, **bound.kwargs)
        return await result if inspect.isawaitable(result) else result
