"""Pictures as a network takes them: resized, cropped, normalised, and what of the picture is left.

A `Preprocessing` does with Pillow what the libraries' own transforms do, to the bit: torchvision's presets, timm's
evaluation transforms, open_clip's `preprocess_val` and transformers' Pillow processors (these to 1e-6, since they scale
by 1/255 instead of dividing by 255). It leaves the normalisation to the whole
batch on the model's device: until then a picture is bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from maia.services.subject.backends.networks.failures import preprocessing_unsupported
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb

Triple = tuple[float, float, float]

IMAGENET_MEAN: Final[Triple] = (0.485, 0.456, 0.406)
IMAGENET_STD: Final[Triple] = (0.229, 0.224, 0.225)

_WHOLE_UP_TO: Final = 32_000_000
"""Pixels of a resized picture that are all computed before it is cropped. Of a larger one, hundreds of times longer
than wide, only the crop is: Pillow may then resize the axes in the other order, and pixels differ by some levels."""

_FILTERS: Final = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


_WHOLE_PIXELS: Final = 16_000_000
"""The largest picture that is resized whole; of a longer one, only the crop is computed."""


class Fit(StrEnum):
    """How a picture is resized before its centre is cropped."""

    SHORTEST = "shortest"
    """Its shorter side to a size; the crop cuts off the ends of a long picture."""

    LONGEST = "longest"
    """Its longer side to a size; the crop pads a long picture."""

    SQUASH = "squash"
    """Both sides to a size, whatever its shape."""


class Centre(StrEnum):
    """Where a crop begins if the middle falls between two pixels."""

    EVEN = "even"
    """At the even one (torchvision, timm, open_clip)."""

    BEFORE = "before"
    """At the one before (transformers)."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture made ready for one network; a `maia.services.subject.model.Input`.

    Attributes:
        frame: What of the picture the pixels cover.
        pixels: As its preparation left them.
    """

    frame: Frame
    pixels: NDArray[Any]


class Preparation(Protocol):
    """Makes batches of pictures for one network."""

    @property
    def side(self) -> int:
        """Of the square that the network takes, in pixels."""
        ...

    def prepare(self, rgb: Rgb) -> Prepared:
        """Do what can be done for a picture alone. Called by any thread."""
        ...

    def batch(self, pictures: Sequence[Prepared], device: torch.device) -> Tensor:
        """Return a batch on the device: float32, (pictures, 3, side, side), in any memory format."""
        ...


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How to prepare pictures; a `Preparation`.

    Attributes:
        size: What `fit` resizes to, in pixels.
        crop: Side of the square that is cut out of the middle.
        fit: How to resize.
        interpolation: "bilinear", "bicubic" or "lanczos", always antialiased.
        mean: Of each channel from 0 to 1, to be subtracted.
        std: To divide by then.
        centre: How the crop is rounded.
        fill: Colour outside the picture where a crop is larger.

    Raises:
        PreconditionError: PREPROCESSING_UNSUPPORTED: another interpolation.
    """

    size: int
    crop: int
    fit: Fit = Fit.SHORTEST
    interpolation: str = "bilinear"
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    centre: Centre = Centre.EVEN
    fill: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.interpolation not in _FILTERS:
            raise preprocessing_unsupported(f"its pictures are resized by {self.interpolation!r:.50}")

    @property
    def side(self) -> int:
        """Of the square that the network takes, in pixels."""
        return self.crop

    def prepare(self, rgb: Rgb) -> Prepared:
        """Resize and crop.

        Args:
            rgb: uint8, (height, width, 3).

        Returns:
            Pixels uint8, (crop, crop, 3), and the box of the picture that they cover, which is larger than the
            picture where it was padded.
        """
        height, width = rgb.shape[:2]
        resized_width, resized_height = self._resized(width, height)
        if (resized_width, resized_height) == (width, height) == (self.crop, self.crop):
            return Prepared(Frame(0, 0, width, height), rgb)
        left, top = self._offset(resized_width), self._offset(resized_height)
        across, down = width / resized_width, height / resized_height
        frame = Frame(left * across, top * down, (left + self.crop) * across, (top + self.crop) * down)
        image, method = Image.fromarray(rgb), _FILTERS[self.interpolation]
        inside = (max(left, 0), max(top, 0), min(left + self.crop, resized_width), min(top + self.crop, resized_height))
        if resized_width * resized_height <= _WHOLE_UP_TO:
            part = image.resize((resized_width, resized_height), method).crop(inside)
        else:
            box = (inside[0] * across, inside[1] * down, min(inside[2] * across, width), min(inside[3] * down, height))
            part = image.resize((inside[2] - inside[0], inside[3] - inside[1]), method, box)
        if part.size != (self.crop, self.crop):
            canvas = Image.new("RGB", (self.crop, self.crop), self.fill)
            canvas.paste(part, (inside[0] - left, inside[1] - top))
            part = canvas
        return Prepared(frame, np.asarray(part))

    def batch(self, pictures: Sequence[Prepared], device: torch.device) -> Tensor:
        """Normalise a batch, in the channels-last memory format that its bytes are in."""
        shape = (len(pictures), self.crop, self.crop, 3)
        # A row at a time: numbers that repeat after three are no vectors to a CPU.
        mean, std = (np.tile(np.array(each, np.float32), self.crop) for each in (self.mean, self.std))
        if len(pictures) == 1 and device.type == "cpu":
            # To wake PyTorch's threads for each of these steps takes longer than the steps.
            row = pictures[0].pixels.reshape(self.crop, -1).astype(np.float32)
            row /= np.float32(255)
            row -= mean
            row /= std
            return torch.from_numpy(row).view(shape).permute(0, 3, 1, 2)
        pixels = torch.from_numpy(np.stack([picture.pixels for picture in pictures])).to(device)
        rows = pixels.flatten(2).float().div_(255)
        rows.sub_(torch.from_numpy(mean).to(device)).div_(torch.from_numpy(std).to(device))
        return rows.view(shape).permute(0, 3, 1, 2)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height after resizing, as torchvision and timm round them."""
        if self.fit is Fit.SQUASH:
            return self.size, self.size
        if self.fit is Fit.LONGEST:
            ratio = max(width, height) / self.size
            return max(1, round(width / ratio)), max(1, round(height / ratio))
        longer = int(self.size * max(width, height) / min(width, height))
        return (self.size, longer) if width <= height else (longer, self.size)

    def _offset(self, length: int) -> int:
        """Return where the crop begins on an axis; negative where it pads."""
        if self.centre is Centre.BEFORE:
            return (length - self.crop) // 2
        if length < self.crop:
            return -((self.crop - length) // 2)
        return round((length - self.crop) / 2)


IMAGENET: Final = Preprocessing(size=256, crop=224)
"""The usual preparation for networks trained on ImageNet."""


def triple(values: float | Sequence[float]) -> Triple:
    """Return one number for each channel, of three or one.

    Raises:
        PreconditionError: PREPROCESSING_UNSUPPORTED: it is for pictures of other than three channels.
    """
    each = [float(value) for value in ([values] if isinstance(values, (int, float)) else values)]
    if len(each) not in {1, 3} or not all(math.isfinite(value) for value in each):
        raise preprocessing_unsupported(f"its pictures are normalised by {len(each)} numbers instead of 3")
    red, green, blue = each * 3 if len(each) == 1 else each
    return red, green, blue
