"""Images inside a session: handles for those that stay outside, pixels for those that code makes."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any, Protocol

from maia.sandbox.guest.objects import Object, name_of
from maia.sandbox.protocol.types import ImageRef, Namespace, Pixels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import PIL.Image

__all__ = ["Image", "from_host", "to_host"]


class Call(Protocol):
    """Calls a tool by name."""

    def __call__(self, name: str, arguments: Sequence[object], keywords: Mapping[str, object]) -> object:
        """Returns the tool's result."""


class Image:
    """An image that tools take as it is; `.pil()` and `.array()` give pixels, `.source` what a masked view shows."""

    __slots__ = ("_call", "_pixels", "_ref")

    def __init__(self, ref: ImageRef, call: Call) -> None:
        self._ref = ref
        self._call = call
        self._pixels: Pixels | None = None

    def __repr__(self) -> str:
        return f"<Image {self._ref.width}x{self._ref.height} {self._ref.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and other._ref == self._ref

    def __hash__(self) -> int:
        return hash(self._ref)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._ref.width, self._ref.height

    @property
    def width(self) -> int:
        """In pixels."""
        return self._ref.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self._ref.height

    @property
    def source(self) -> Image:
        """The image that this one is a view of; for an image that is no view, itself."""
        found = self._call("_image.source", (self._ref,), {})
        assert isinstance(found, ImageRef)
        return self if found == self._ref else Image(found, self._call)

    def pil(self) -> PIL.Image.Image:
        """A PIL image, a copy of its own each time."""
        return _to_pil(self._fetch())

    def array(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """A uint8 array of shape (height, width, 3), a copy of its own each time."""
        import numpy as np

        return np.array(self.pil().convert("RGB"))

    def base64(self) -> str:
        """The image as a PNG file in base64."""
        encoded = self._call("_image.encoded", (self._ref,), {})
        assert isinstance(encoded, bytes)
        return base64.b64encode(encoded).decode("ascii")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:  # noqa: ANN401, FBT001  NumPy's protocol
        array = self.array()
        return array if dtype is None else array.astype(dtype)

    def __getattr__(self, name: str) -> object:
        raise AttributeError(f"an Image has no {name!r}; .pil() gives a PIL image, .array() a NumPy array")

    def _fetch(self) -> Pixels:
        if self._pixels is None:
            pixels = self._call("_image.pixels", (self._ref,), {})
            assert isinstance(pixels, Pixels)
            self._pixels = pixels
        return self._pixels


def _to_pil(pixels: Pixels) -> PIL.Image.Image:
    from PIL import Image as PILImage

    return PILImage.frombytes(pixels.mode, (pixels.width, pixels.height), pixels.data)


def to_host(value: object) -> object:
    """What an argument is sent as: a handle as its reference, a PIL image or a figure as raw pixels."""
    if isinstance(value, Image):
        return value._ref  # noqa: SLF001  its own module
    pil = sys.modules.get("PIL.Image")
    if pil is not None and isinstance(value, pil.Image):
        return _from_pil(value)
    figures = sys.modules.get("matplotlib.figure")
    if figures is not None and isinstance(value, figures.Figure):
        return _from_figure(value)
    return Namespace(name_of(value)) if isinstance(value, Object) else value


def _from_pil(image: PIL.Image.Image) -> Pixels:
    if image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return Pixels(image.mode, image.width, image.height, image.tobytes())


def _from_figure(figure: Any) -> Pixels:  # noqa: ANN401  matplotlib is optional to a reader of this module
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)  # its methods are not annotated
    canvas.draw()
    width, height = canvas.get_width_height()
    return Pixels("RGBA", width, height, bytes(canvas.buffer_rgba()))


def from_host(value: object, call: Call) -> object:
    """What a result is shown as: references become handles, pixels PIL images, within lists, tuples and dicts too."""
    if isinstance(value, ImageRef):
        return Image(value, call)
    if isinstance(value, Pixels):
        return _to_pil(value)
    if isinstance(value, list):
        return [from_host(item, call) for item in value]
    if isinstance(value, tuple):
        return tuple(from_host(item, call) for item in value)
    if isinstance(value, dict):
        return {key: from_host(item, call) for key, item in value.items()}
    return value
