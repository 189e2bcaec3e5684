"""What is read of every vendor's answer: so much that it fits into memory, and what it says, however it counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError

from maia.orchestrator.agents.endpoint import Endpoint
from maia.orchestrator.agents.request_parts import first_problem

if TYPE_CHECKING:
    import httpx2  # of both SDKs

MOST_BYTES: Final = 32 << 20
"""Of an answer, unpacked; the longest replies of today's models have less than one million."""

_OF_TRANSFER: Final = ("content-encoding", "content-length", "transfer-encoding")

Count = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value)]
"""Tokens; some servers send null where they have not counted."""

_Form = TypeVar("_Form", bound=BaseModel)


async def bounded(response: httpx2.Response) -> httpx2.Response:
    """Return an answer whose body has been read, but never more than `MOST_BYTES` and one.

    Its clients do so before the SDK sees it: there a connection that is cut is tried again as any other, and an error's
    body is bounded, too.

    Args:
        response: As `send` returns it with `stream`; it is closed.
    """
    body = bytearray()
    try:
        async for piece in response.aiter_bytes():
            body += piece[: MOST_BYTES + 1 - len(body)]
            if len(body) > MOST_BYTES:
                break
    finally:
        await response.aclose()
    return type(response)(
        response.status_code,
        headers=[(name, value) for name, value in response.headers.multi_items() if name.lower() not in _OF_TRANSFER],
        content=bytes(body),
        request=response.request,
        extensions=response.extensions,
    )


def read_answer(form: type[_Form], body: bytes, endpoint: Endpoint) -> _Form:
    """Return what a successful answer says; half characters, which UTF-8 cannot hold, become "?".

    Args:
        form: What it must be.
        body: As `bounded` has read it.
        endpoint: Who answered.

    Raises:
        BackboneError: BACKBONE_UNREADABLE: it is too large, or not of this form.
    """
    if len(body) > MOST_BYTES:
        raise endpoint.unreadable(f"it has more than {MOST_BYTES >> 20} MiB", body)
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        problem = error
    whole = _with_whole_characters(body) if problem.errors()[0]["type"] == "json_invalid" else body
    if whole != body:
        try:
            return form.model_validate_json(whole)
        except ValidationError as error:
            problem = error
    raise endpoint.unreadable(first_problem(problem), body)


def _with_whole_characters(body: bytes) -> bytes:
    """The same JSON without half characters, escaped or not; the same bytes where it is no JSON."""
    try:
        value = json.loads(body.decode(errors="replace"))
    except (ValueError, RecursionError):
        return body
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")
