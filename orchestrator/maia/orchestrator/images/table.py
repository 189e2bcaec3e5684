"""The table of a run's images: encoded pictures, and masked views that are made when somebody looks.

Code in a sandbox holds ids only. An id means nothing in another run, and an id that this run never gave out is a
ToolError. Raw pixels that code sends up are encoded here; no format that code wrote is ever decoded (ADR 4).
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maia.orchestrator.conversation import Picture
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import ImageAdded
from maia.orchestrator.images.recipe import MaskRecipe
from maia.orchestrator.journal import read_picture
from maia.orchestrator.record import Record
from maia.sandbox import ImageRef, Pixels, ToolError
from maia.wire.maps import darken
from maia.wire.pictures import decode, encode_png

MIN_SIDE: Final = 8
MAX_SIDE: Final = 4096
"""Bounds on the sides of images that code makes, in pixels."""

SHOWN_SIDE: Final = 1024
"""Longest side of a displayed picture; vendors shrink larger ones, and bill them first."""

_CHANNELS: Final = {"L": 1, "RGB": 3, "RGBA": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """What one run may keep: images of any kind, and bytes of encoded pictures."""

    images: int = 10_000
    bytes: int = 1024 * 1024 * 1024


@dataclass(slots=True)
class _Entry:
    """One image.

    Attributes:
        ref: As code knows it.
        picture: Encoded; None for a view that nobody looked at yet.
        view_of: The original's id; its own for an original.
        recipe: Only of a view.
    """

    ref: ImageRef
    picture: Picture | None
    view_of: str
    recipe: MaskRecipe | None = None


class ImageTable:
    """The images of one run; serves its sandbox sessions as their `maia.sandbox.ImageSource`.

    Args:
        record: Journals every image.
        tag: Begins every id and tells runs apart; ids are the same when a run is repeated.
        limits: What the run may keep.
    """

    def __init__(self, record: Record, *, tag: str, limits: ImageLimits | None = None) -> None:
        self._record = record
        self.tag = tag
        self._limits = limits or ImageLimits()
        self._entries: dict[str, _Entry] = {}
        self._bytes = 0
        self._by_pixels: dict[str, ImageRef] = {}
        self._by_png: dict[str, str] = {}

    def add(self, picture: Picture, source: Mapping[str, Any]) -> ImageRef:
        """Add a picture.

        Args:
            picture: From a server, or encoded by us.
            source: How it came to be, for the journal.

        Raises:
            ToolError: There is no room.
        """
        ref = self._next(picture.width, picture.height)
        self._take(picture)
        self._entries[ref.id] = _Entry(ref, picture, ref.id)
        self._journal(ref, picture=picture, source=source)
        return ref

    async def store(self, pictures: Sequence[Picture]) -> None:
        """Store pictures that are to be added, while the event loop goes on."""
        await self._record.journal.store(pictures)

    def restore(self, event: ImageAdded) -> None:
        """Take in an image that an earlier process has journaled; the journal is not written.

        Args:
            event: In the order of the journal.

        Raises:
            JournalError: Its picture is missing or altered, or the event does not follow those before it.
        """
        picture = None
        if event.sha256:
            data = read_picture(self._record.journal.folder, event.sha256, event.media_type)
            picture = Picture(data, event.media_type, event.width, event.height)
            self._bytes += len(data)
        if (known := self._entries.get(event.image_id)) is not None:
            if known.recipe is None or known.view_of != event.view_of:
                raise JournalError(f"the journal holds two images {event.image_id!r}")
            known.picture = picture  # a view that somebody has looked at
            return
        ref = ImageRef(event.image_id, event.width, event.height)
        if ref.id != self._id(len(self._entries) + 1):
            raise JournalError(
                f"the image {ref.id!r} in the journal does not follow the {len(self._entries)} before it"
            )
        try:
            recipe = MaskRecipe.from_json(event.view) if event.view_of else None
        except (KeyError, ValueError, TypeError) as error:
            raise JournalError(f"the view of the image {ref.id!r} in the journal is none: {error}") from error
        self._entries[ref.id] = _Entry(ref, picture, event.view_of or ref.id, recipe)
        if "pixels" in event.source:
            self._by_pixels[str(event.source["pixels"])] = ref

    def follow(self, events: Sequence[ImageAdded]) -> bool:
        """Tell whether `restore` can take these: each the next image, or a view of this table that was drawn."""
        number = len(self._entries)
        for event in events:
            known = self._entries.get(event.image_id)
            if known is not None and known.recipe is not None and known.view_of == event.view_of:
                continue
            number += 1
            if event.image_id != self._id(number):
                return False
        return True

    def add_view(self, original_id: str, recipe: MaskRecipe, source: Mapping[str, Any]) -> ImageRef:
        """Add a masked view of an image; it is drawn when somebody looks.

        Raises:
            ToolError: The id is unknown, or there is no room.
        """
        original = self.source(original_id)
        ref = self._next(original.width, original.height)
        self._entries[ref.id] = _Entry(ref, None, original.id, recipe)
        self._journal(ref, view_of=original.id, source=source, view=recipe.to_json())
        return ref

    async def add_pixels(self, pixels: Pixels) -> ImageRef:
        """Add an image that code made; the same pixels again are the same image.

        Raises:
            ToolError: Too small or too large, or there is no room.
        """
        if not (MIN_SIDE <= pixels.width <= MAX_SIDE and MIN_SIDE <= pixels.height <= MAX_SIDE):
            raise ToolError(
                f"an image of {pixels.width}×{pixels.height} pixels; each side must be {MIN_SIDE} to {MAX_SIDE}"
            )
        key = hashlib.sha256(f"{pixels.mode} {pixels.width} {pixels.height} ".encode() + pixels.data).hexdigest()
        if key not in self._by_pixels:
            self._room()
            data = await asyncio.to_thread(_encode, pixels)
            picture = Picture(data, "image/png", pixels.width, pixels.height)
            self._by_pixels[key] = self.add(picture, {"tool": "code", "pixels": key})
        return self._by_pixels[key]

    def known(self, ref_id: str) -> ImageRef:
        """Return the reference of an id, with its true size.

        Raises:
            ToolError: This run gave out no such id.
        """
        return self._entry(ref_id).ref

    def source(self, ref_id: str) -> ImageRef:
        """Return the original of a view; an original is its own.

        Raises:
            ToolError: This run gave out no such id.
        """
        return self._entry(self._entry(ref_id).view_of).ref

    def picture(self, ref_id: str) -> Picture:
        """Return the encoded original of an image, without any darkening.

        Raises:
            ToolError: This run gave out no such id.
        """
        picture = self._entry(self._entry(ref_id).view_of).picture
        assert picture is not None  # an original is added with its picture
        return picture

    def mask(self, ref_id: str) -> NDArray[np.bool_] | None:
        """Return what a view leaves bright, bool of shape (height, width); None for an original.

        Raises:
            ToolError: This run gave out no such id.
        """
        entry = self._entry(ref_id)
        return None if entry.recipe is None else entry.recipe.mask(entry.ref.width, entry.ref.height)

    def identity(self, ref_id: str) -> object:
        """Return what tells the image's content, whatever its id, as JSON.

        Raises:
            ToolError: This run gave out no such id.
        """
        recipe = self._entry(ref_id).recipe
        sha256 = self.picture(ref_id).sha256
        return {"image": sha256} if recipe is None else {"image": sha256, "mask": recipe.identity()}

    async def drawn(self, ref_id: str) -> Picture:
        """Return the image as one sees it; a view is drawn once and journaled.

        Raises:
            ToolError: This run gave out no such id, or there is no room.
        """
        entry = self._entry(ref_id)
        if entry.picture is None:
            assert entry.recipe is not None  # only a view lacks its picture
            data = await asyncio.to_thread(_compose, self.picture(ref_id), entry.recipe)
            picture = Picture(data, "image/png", entry.ref.width, entry.ref.height)
            await self.store([picture])
            self._take(picture)
            entry.picture = picture
            self._journal(entry.ref, picture=picture, view_of=entry.view_of)
        return entry.picture

    async def shown(self, ref_id: str) -> Picture:
        """Return the image as it is displayed: as `drawn`, but no side longer than SHOWN_SIDE.

        Raises:
            ToolError: As `drawn`.
        """
        picture = await self.drawn(ref_id)
        if max(picture.width, picture.height) > SHOWN_SIDE:
            picture = await asyncio.to_thread(_shrunk, picture)
        self._record.image_ids[picture.sha256] = ref_id
        return picture

    async def pixels(self, ref_id: str) -> Pixels:
        """Return the image as one sees it, as raw RGB pixels.

        Raises:
            ToolError: As `drawn`.
        """
        picture = await self.drawn(ref_id)
        rgb = await asyncio.to_thread(decode, picture.data)
        return Pixels("RGB", rgb.shape[1], rgb.shape[0], rgb.tobytes())

    async def encoded(self, ref_id: str) -> bytes:
        """Return the image as one sees it, as a PNG file.

        Raises:
            ToolError: As `drawn`.
        """
        picture = await self.drawn(ref_id)
        data = picture.data if picture.media_type == "image/png" else await asyncio.to_thread(_as_png, picture)
        self._by_png[hashlib.sha256(data).hexdigest()] = ref_id
        return data

    def handed_out(self, sha256: str) -> str | None:
        """Return the id whose `encoded` bytes have this hash, None if no image's do."""
        return self._by_png.get(sha256)

    def _entry(self, ref_id: str) -> _Entry:
        entry = self._entries.get(ref_id)
        if entry is None:
            raise ToolError(f"there is no image {ref_id[:80]!r} in this session; use images that tools returned")
        return entry

    def _room(self) -> None:
        if len(self._entries) >= self._limits.images:
            raise ToolError(f"this session already holds {self._limits.images:,} images; use those you have")
        if self._bytes >= self._limits.bytes:
            raise ToolError(f"this session's images already take {self._limits.bytes:,} bytes; use those you have")

    def _next(self, width: int, height: int) -> ImageRef:
        self._room()
        return ImageRef(self._id(len(self._entries) + 1), width, height)

    def _id(self, number: int) -> str:
        return f"{self.tag}-{number}"

    def _take(self, picture: Picture) -> None:
        self._room()
        self._bytes += len(picture.data)

    def _journal(self, ref: ImageRef, *, picture: Picture | None = None, **what: Any) -> None:  # noqa: ANN401  as the event's fields
        event = ImageAdded(image_id=ref.id, width=ref.width, height=ref.height, **what)
        if picture is not None:
            sha256 = self._record.journal.add_picture(picture)
            event = dataclasses.replace(event, sha256=sha256, media_type=picture.media_type)
        self._record.journal.append(event)


def _encode(pixels: Pixels) -> bytes:
    shape = (pixels.height, pixels.width, _CHANNELS[pixels.mode])
    array = np.frombuffer(pixels.data, np.uint8).reshape(shape)
    if pixels.mode == "L":
        return encode_png(np.repeat(array, 3, axis=2))
    if pixels.mode == "RGB":
        return encode_png(array)
    colour, alpha = array[..., :3].astype(np.uint16), array[..., 3:].astype(np.uint16)
    return encode_png(((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8))


def _compose(picture: Picture, recipe: MaskRecipe) -> bytes:
    rgb = decode(picture.data)
    return encode_png(darken(rgb, recipe.mask(rgb.shape[1], rgb.shape[0])))


def _as_png(picture: Picture) -> bytes:
    return encode_png(decode(picture.data))


def _shrunk(picture: Picture) -> Picture:
    scale = SHOWN_SIDE / max(picture.width, picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = Image.fromarray(decode(picture.data)).resize(size, Image.Resampling.BOX)
    return Picture(encode_png(np.asarray(small)), "image/png", *size)
