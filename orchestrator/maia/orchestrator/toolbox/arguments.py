"""What an agent's code passed, as the tools want it; what does not fit becomes a readable ToolError."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

import numpy as np

from maia.orchestrator.images import ImageTable
from maia.sandbox import ImageRef, Namespace, Pixels, ToolError
from maia.sandbox.host.arguments import check_argument
from maia.wire.limits import MAX_PROMPT_CHARS

MAX_PER_CALL: Final = 200
"""Most images or texts in one call: what servers and frames take in one go, with room to spare."""

MAX_TITLE_CHARS: Final = 500

_MIN_GREY_SIDE: Final = 16
_T = TypeVar("_T")


def texts(value: object, where: str, *, numbers: bool = False, limit: int = MAX_PROMPT_CHARS) -> list[str]:
    """Return a text, or a list of them, as a list.

    Args:
        value: As the guest sent it.
        where: For messages: "prompts".
        numbers: Whether numbers pass as texts.
        limit: Most characters of one text.

    Raises:
        ToolError: Empty, too many, too long, or something that is no text.
    """
    items = _listed(value, where, "texts")
    kinds = (str, int, float) if numbers else (str,)
    for index, item in enumerate(items):
        if not isinstance(item, kinds) or isinstance(item, bool):
            raise ToolError(f"{where}[{index}] must be a text, not {kind_of(item)}")
        if len(str(item)) > limit:
            raise ToolError(f"{where}[{index}] has {len(str(item)):,} characters; at most {limit:,} are accepted")
    return [str(item) for item in items]


async def image_list(value: object, where: str, images: ImageTable, *, nested: bool = False) -> list[ImageRef]:
    """Return an image, or a list of them, as references into the table.

    Args:
        value: As the guest sent it: references, raw pixels, arrays that are pictures.
        where: For messages: "images".
        images: The run's table; raw pixels and arrays enter it.
        nested: Whether lists in the list are flattened.

    Raises:
        ToolError: Empty, too many, a reference that this run does not know, or something that is no image.
    """
    listed = _listed(value, where, "images")
    items = _bounded(list(_flat(listed)), where, "images") if nested else listed
    return [
        await _image(item, f"{where}[{index}]" if nested or item is not value else where, images)
        for index, item in enumerate(items)
    ]


async def _image(item: object, where: str, images: ImageTable) -> ImageRef:
    if isinstance(item, ImageRef):
        return images.known(item.id)
    if isinstance(item, Pixels):
        return await images.add_pixels(item)
    if isinstance(item, np.ndarray):
        return await images.add_pixels(check_argument(item, Pixels, where))
    hint = "; draw images with tools.text2image, or pass PIL images or arrays" if isinstance(item, str) else ""
    raise ToolError(f"{where} must be an image, not {kind_of(item)}{hint}")


def pair_up(left: Sequence[_T], right: Sequence[str], names: tuple[str, str]) -> list[tuple[_T, str]]:
    """Pair two lists of equal length, or one item with each of the other list.

    Raises:
        ToolError: The lengths differ and none is 1.
    """
    if len(left) != len(right) and 1 not in (len(left), len(right)):
        raise ToolError(
            f"{names[0]} has {len(left)} items and {names[1]} has {len(right)}; give as many of one as of the other,"
            " or only one of either"
        )
    count = max(len(left), len(right))
    return [(left[i % len(left)], right[i % len(right)]) for i in range(count)]


async def admit(value: object, images: ImageTable) -> object:
    """Replace what is surely a picture by its reference, in lists, tuples and dicts too.

    Raw pixels are; so are arrays of shape (h, w, 3) or (h, w, 4) that hold uint8 or floats in 0 to 1, and uint8 arrays
    of shape (h, w) from 16 × 16 on. References are checked.

    Raises:
        ToolError: A reference that this run does not know, or no room for another image.
    """
    if isinstance(value, list):
        return [await admit(item, images) for item in value]
    if isinstance(value, tuple):
        return tuple([await admit(item, images) for item in value])
    if isinstance(value, dict):
        return {key: await admit(item, images) for key, item in value.items()}
    if isinstance(value, ImageRef | Pixels) or (isinstance(value, np.ndarray) and _surely_picture(value)):
        return await _image(value, "image", images)
    return value


def kind_of(value: object) -> str:
    """Return a type in the words of an agent's author."""
    if value is None:
        return "None"
    if isinstance(value, ImageRef | Pixels):
        return "an image"
    if isinstance(value, Namespace):
        return f"the object `{value.name}`"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    if isinstance(value, str):
        return f"the text {_short(value)!r}"
    return f"a {type(value).__name__}"


def _listed(value: object, where: str, what: str) -> list[object]:
    single = isinstance(value, str | ImageRef | Pixels) or (isinstance(value, np.ndarray) and value.ndim < 4)
    if single:
        return [value]
    if isinstance(value, np.ndarray):
        return _bounded(list(value), where, what)
    if not isinstance(value, list | tuple):
        raise ToolError(f"{where} must be a list of {what}, not {kind_of(value)}")
    return _bounded(list(value), where, what)


def _bounded(items: list[object], where: str, what: str) -> list[object]:
    if not items:
        raise ToolError(f"{where} is empty; give at least one")
    if len(items) > MAX_PER_CALL:
        raise ToolError(f"{where} has {len(items)} {what}; at most {MAX_PER_CALL} are accepted in one call")
    return items


def _flat(items: Sequence[object]) -> Iterator[object]:
    for item in items:
        if isinstance(item, list | tuple):
            yield from _flat(item)
        else:
            yield item


def _surely_picture(array: np.ndarray[Any, Any]) -> bool:
    if array.ndim == 2:
        return bool(array.dtype == np.uint8 and min(array.shape) >= _MIN_GREY_SIDE)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or not array.size:
        return False
    if array.dtype.kind == "f":
        return bool(((array >= 0) & (array <= 1)).all())
    return bool(array.dtype == np.uint8)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
