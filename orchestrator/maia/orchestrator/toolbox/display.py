"""What `tools.display` shows of what it is given."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from maia.orchestrator.conversation import Part, Picture, Text
from maia.orchestrator.images import ImageTable
from maia.sandbox import ImageRef, Namespace, ToolError

MAX_PICTURES: Final = 60
"""Most pictures of one call: vendors bound the pictures of a request, and a request holds many calls' pictures."""

MAX_CHARS: Final = 20_000
"""Most characters of one call."""

# PNG, JPEG and WebP files in base64 begin so; words and numbers do not.
_BASE64: Final = re.compile(
    r"(?:data:image/[a-z]+;base64,)?((?:iVBORw0KGgo|/9j/|UklGR)[A-Za-z0-9+/\r\n]{64,}={0,2})\s*"
)


@dataclass(frozen=True, slots=True)
class _ImageId:
    """An image that is to be shown."""

    id: str


@dataclass(slots=True)
class Display:
    """Collects what one call shows, in order.

    Attributes:
        images: The run's.
    """

    images: ImageTable
    _items: list[Text | _ImageId] = field(default_factory=list)
    _pictures: int = 0
    _chars: int = 0

    def add(self, item: object) -> None:
        """Show one item: an image as a picture, a list that holds images or texts item by item, all else as text.

        Raises:
            ToolError: Too many pictures for one call.
        """
        image = self._image_id(item)
        if image is not None:
            self._picture(image)
        elif isinstance(item, list | tuple) and self._item_by_item(item):
            for inner in item:
                self.add(inner)
        else:
            self._text(readable(item))

    async def parts(self) -> list[Part]:
        """Return what was added; views that nobody saw yet are drawn, several at a time.

        Raises:
            ToolError: A reference that this run does not know, or no room for what is drawn.
        """
        ids = list(dict.fromkeys(item.id for item in self._items if isinstance(item, _ImageId)))
        drawn = await asyncio.gather(*map(self.images.shown, ids), return_exceptions=True)
        pictures: dict[str, Picture] = {}
        for image_id, picture in zip(ids, drawn, strict=True):
            if isinstance(picture, BaseException):
                raise picture
            pictures[image_id] = picture
        return [pictures[item.id] if isinstance(item, _ImageId) else item for item in self._items]

    def _image_id(self, item: object) -> str | None:
        if isinstance(item, ImageRef):
            return item.id
        return self._image_in(item) if isinstance(item, str) else None

    def _image_in(self, text: str) -> str | None:
        """The image whose `.base64()` a text is; what code encoded itself is not decoded outside its sandbox."""
        match = _BASE64.fullmatch(text)
        if match is None:
            return None
        try:
            data = base64.b64decode(re.sub(r"\s", "", match[1]), validate=True)
        except binascii.Error:
            return None
        return self.images.handed_out(hashlib.sha256(data).hexdigest())

    def _item_by_item(self, items: list[object] | tuple[object, ...]) -> bool:
        return any(
            isinstance(item, ImageRef | str) or (isinstance(item, list | tuple) and self._item_by_item(item))
            for item in items
        )

    def _picture(self, image_id: str) -> None:
        self._pictures += 1
        if self._pictures > MAX_PICTURES:
            raise ToolError(f"more than {MAX_PICTURES} pictures in one call of tools.display; show the telling ones")
        self._items.append(_ImageId(image_id))

    def _text(self, text: str) -> None:
        if self._chars >= MAX_CHARS:
            return
        room = MAX_CHARS - self._chars
        self._chars += len(text)
        if len(text) > room:
            text = f"{text[:room]}\n(cut here: at most {MAX_CHARS:,} characters are shown by one tools.display)"
        self._items.append(Text(text))


def readable(value: object) -> str:
    """Return a value as text: a text as it is, all else as Python shows it, with images by their names."""
    if isinstance(value, str):
        if _BASE64.fullmatch(value):
            return f"(a base64 text of {len(value):,} characters; to see a picture, display the image itself)"
        return value
    return _shown(value)


def _shown(value: object) -> str:  # noqa: PLR0911  one line per type
    match value:
        case ImageRef():
            return f"<Image {value.width}x{value.height} {value.id}>"
        case Namespace():
            return f"<{value.name}>"
        case np.ndarray():
            return np.array2string(value, precision=4, threshold=200)
        case bytes():
            return f"<{len(value)} bytes>"
        case list():
            return f"[{', '.join(map(_shown, value))}]"
        case tuple():
            return f"({', '.join(map(_shown, value))}{',' if len(value) == 1 else ''})"
        case dict():
            return f"{{{', '.join(f'{_shown(key)}: {_shown(item)}' for key, item in value.items())}}}"
        case _:
            return repr(value)
