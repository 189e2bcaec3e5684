"""A network of one's own: `python:package.module:factory`.

The factory is called without arguments, runs with all rights of the server, and returns one of

    an nn.Module                    pictures are prepared as is usual for ImageNet (256, 224, mean and deviation)
    (nn.Module, preparation)        a `preprocessing.Preprocessing`, or a function from a Pillow picture (RGB) to a
                                    float tensor (3, side, side), such as a transform of torchvision; None for the usual
    a `CustomNetwork`               which can also name classes, and say what of a picture a function leaves

The module's first argument is a batch, float32, (pictures, 3, side, side).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from maia.services.subject.backends.networks.loaded import Network
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.networks.preprocessing import IMAGENET, Preparation, Prepared, Preprocessing
from maia.services.subject.backends.networks.weights import put, read_state
from maia.wire.errors import PreconditionError
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb

Transform = Callable[[Image.Image], Tensor]

_PROBE = 64  # side of the picture that tells what size a function makes


@dataclass(frozen=True, slots=True)
class CustomNetwork:
    """What a factory may return.

    Attributes:
        module: The network.
        preparation: Of its pictures; None for the usual one.
        classes: Names of what its output tells apart, or how many there are; None if its output is no classes.
        frame: What is left of a picture of a width and a height by a preparation that is a function; None if all is.
    """

    module: nn.Module
    preparation: Preprocessing | Transform | None = None
    classes: Sequence[str] | int | None = None
    frame: Callable[[int, int], Frame] | None = None


@dataclass(frozen=True, slots=True)
class Transformed:
    """A preparation by a function; a `preprocessing.Preparation`.

    Attributes:
        transform: The function; must be usable by many threads at once.
        frame: What of a picture it leaves, by width and height.
        side: Of what it makes.
    """

    transform: Transform
    frame: Callable[[int, int], Frame]
    side: int

    def prepare(self, rgb: Rgb) -> Prepared:
        """Call the function.

        Returns:
            Pixels float32, (3, side, side).

        Raises:
            PreconditionError: FACTORY_UNUSABLE: it made something else of this picture.
        """
        made = self.transform(Image.fromarray(rgb))
        if tuple(made.shape) != (3, self.side, self.side):
            raise _unusable(
                f"its preparation made {tuple(made.shape)} of a picture, and {self.side} pixels square before"
            )
        return Prepared(self.frame(rgb.shape[1], rgb.shape[0]), made.float().numpy())

    def batch(self, pictures: Sequence[Prepared], device: torch.device) -> Tensor:
        """Put pictures together."""
        return torch.from_numpy(np.stack([picture.pixels for picture in pictures])).to(device)


def load(rest: str, options: NetworkOptions, preparation: Preparation | None = None) -> Network:
    """Call a factory.

    Args:
        rest: `MODULE:FACTORY`.
        options: How.
        preparation: Instead of the factory's.

    Raises:
        PreconditionError: FACTORY_UNUSABLE: it cannot be imported, fails, or returns something else. WEIGHTS_UNUSABLE.
    """
    place, _, name = rest.partition(":")
    try:
        made = getattr(importlib.import_module(place), name)()
    except Exception as error:  # whatever a stranger's code raises
        raise _unusable(f"{rest!r:.200} raised {type(error).__name__}: {error}") from error
    if isinstance(made, nn.Module):
        made = CustomNetwork(made)
    elif isinstance(made, tuple) and len(made) == 2:
        made = CustomNetwork(*made)
    if not isinstance(made, CustomNetwork) or not isinstance(made.module, nn.Module):
        raise _unusable(f"{rest!r:.200} returned {type(made).__name__} instead of a network")
    if options.weights is not None:
        put(made.module, read_state(options.weights), options.weights)
    classes = made.classes
    return Network(
        made.module,
        preparation or _preparation(made),
        f"{type(made.module).__name__} of {place}.",
        f"python {rest}",
        None if classes is None else () if isinstance(classes, int) else tuple(classes),
    )


def _preparation(made: CustomNetwork) -> Preparation:
    given = made.preparation
    if given is None:
        return IMAGENET
    if isinstance(given, Preprocessing):
        return given
    probe = given(Image.new("RGB", (_PROBE, _PROBE)))
    if not isinstance(probe, Tensor) or probe.ndim != 3 or probe.shape[0] != 3 or probe.shape[1] != probe.shape[2]:
        raise _unusable("its preparation makes no tensor of shape (3, side, side) of a square picture")
    return Transformed(given, made.frame or Frame.whole, probe.shape[1])


def _unusable(why: str) -> PreconditionError:
    return PreconditionError(f"the factory cannot be used: {why:.600}", reason="FACTORY_UNUSABLE")
