"""What every vendor's request is made of: parts that can be sent, and pictures in base64."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError

from maia.orchestrator.conversation import Message, Part, Picture, Text
from maia.orchestrator.errors import BackboneError

_NOTHING: Final = Text("(nothing)")


def sendable_parts(message: Message) -> tuple[Part, ...]:
    """Return the parts without blank texts, which vendors refuse; one placeholder where nothing else is left.

    The same message always gives the same parts, so that the prefix of a growing conversation stays as it was.
    """
    parts = tuple(part for part in message.parts if isinstance(part, Picture) or part.text.strip())
    return parts or (_NOTHING,)


def base64_text(picture: Picture) -> str:
    """Return the picture's file as base64."""
    return base64.b64encode(picture.data).decode("ascii")


def require_rules(name: str, broken: Sequence[str]) -> None:
    """Refuse a request that breaks its vendor's rules.

    Raises:
        BackboneError: With all broken rules.
    """
    if broken:
        raise BackboneError(
            f"the request to {name} was not sent, since it breaks the vendor's rules: {'; '.join(broken)}",
            transient=False,
            reason="BACKBONE_RULES_BROKEN",
        )


def first_problem(error: ValidationError) -> str:
    """Say where and why an answer is not what it should be, without the values in it."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(step) for step in problem["loc"])
    return f"{where}: {problem['msg']}" if where else problem["msg"]
