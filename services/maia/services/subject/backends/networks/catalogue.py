"""Loads networks as subjects, by their names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from maia.services.subject.backends.networks.failures import library
from maia.services.subject.backends.networks.names import FORMS, SHORT_NAMES, Reference, needs_token, parse
from maia.services.subject.backends.networks.options import NetworkOptions

if TYPE_CHECKING:
    from maia.services.subject.backends.networks.preprocessing import Preparation
    from maia.services.subject.backends.networks.subject import NetworkSubject

__all__ = ["FORMS", "SHORT_NAMES", "Reference", "load", "needs_token", "parse"]

_AS_MAIA_PREPARES: Final = frozenset({"resnet152", "dino_vits8"})
"""Subjects whose pictures MAIA resizes to 224 (bilinear) and does not crop, unlike the library's evaluation."""

_MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "torchvision": "from_torchvision",
        "timm": "from_timm",
        "open_clip": "from_open_clip",
        "transformers": "from_transformers",
        "python": "from_python",
    }
)
_EXTRAS: Final[Mapping[str, str]] = MappingProxyType(
    {"torchvision": "torchvision", "timm": "timm", "open_clip": "open-clip", "transformers": "serve", "python": "serve"}
)


def load(name: str, options: NetworkOptions | None = None) -> NetworkSubject:
    """Load a network as a subject, which may take seconds and download its weights.

    Args:
        name: As `parse` reads it.
        options: How; as `NetworkOptions` defaults if None.

    Returns:
        A `NetworkClassifier` if the network's outputs are classes.

    Raises:
        NotFoundError: SUBJECT_UNKNOWN.
        PreconditionError: A library, the weights or the device is missing or cannot be used; the reason says which.
    """
    reference = parse(name)
    options = options or NetworkOptions()
    with library("torch", "safetensors", extra=_EXTRAS[reference.library]):
        from maia.services.subject.backends.networks.subject import build

        loader = importlib.import_module(f"{__package__}.{_MODULES[reference.library]}")
    return build(name, loader.load(reference.rest, options, _preparation(name)), options)


def _preparation(name: str) -> Preparation | None:
    """How MAIA prepares pictures for a subject of its own, where the library does otherwise."""
    if name not in _AS_MAIA_PREPARES:
        return None
    from maia.services.subject.backends.networks.preprocessing import Preprocessing

    return Preprocessing(size=224, crop=224)
