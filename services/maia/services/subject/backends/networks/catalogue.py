"""Names of subjects that are networks, and what each stands for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from maia.services.subject.backends.networks.failures import library
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.wire.errors import NotFoundError

if TYPE_CHECKING:
    from maia.services.subject.backends.networks.preprocessing import Preparation
    from maia.services.subject.backends.networks.subject import NetworkSubject

FORMS: Final = (
    "torchvision:NAME[/WEIGHTS]",
    "timm:NAME",
    "open_clip:ARCHITECTURE/TAG",
    "transformers:REPOSITORY",
    "python:MODULE:FACTORY",
)
"""How networks are named; timm, open_clip and transformers take a folder too."""

SHORT_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "resnet152": "torchvision:resnet152/IMAGENET1K_V1",
        "clip-RN50": "open_clip:RN50/openai",
        "clip-ViT-B32": "open_clip:ViT-B-32/openai",
        "dino_vits8": "timm:vit_small_patch8_224.dino",
    }
)
"""The subjects of MAIA by its names; their layers have the names that they have there."""

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
_GATED: Final = ("facebook/dinov3-", "facebook/sam3")
"""Beginnings of repositories whose terms must be accepted with a token."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A network by its library and that library's name for it."""

    library: str
    rest: str


def parse(name: str) -> Reference:
    """Read the name of a network.

    Raises:
        NotFoundError: SUBJECT_UNKNOWN, metadata "valid": the forms of names, and the short ones.
    """
    kind, separator, rest = SHORT_NAMES.get(name, name).partition(":")
    if kind not in _MODULES or not separator or not rest or (kind == "python" and not all(rest.partition(":"))):
        valid = ", ".join((*SHORT_NAMES, *FORMS))
        raise NotFoundError(
            f"no subject {name!r:.100}; networks are named {valid}",
            reason="SUBJECT_UNKNOWN",
            metadata={"subject": name, "valid": valid},
        )
    return Reference(kind, rest)


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


def needs_token(name: str) -> bool:
    """Return whether a network's weights are published only to accounts of the Hub that accepted their terms."""
    reference = parse(name)
    return reference.library == "transformers" and reference.rest.startswith(_GATED)


def _preparation(name: str) -> Preparation | None:
    """How MAIA prepares pictures for a subject of its own, where the library does otherwise."""
    if name not in _AS_MAIA_PREPARES:
        return None
    from maia.services.subject.backends.networks.preprocessing import Preprocessing

    return Preprocessing(size=224, crop=224)
