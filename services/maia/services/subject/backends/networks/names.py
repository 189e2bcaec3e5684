"""Names of subjects that are networks, and what each stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from maia.services._runtime.gated import is_gated
from maia.wire.errors import NotFoundError

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
    known = kind in [form.partition(":")[0] for form in FORMS]
    if not known or not separator or not rest or (kind == "python" and not all(rest.partition(":"))):
        valid = ", ".join((*SHORT_NAMES, *FORMS))
        raise NotFoundError(
            f"no subject {name!r:.100}; networks are named {valid}",
            reason="SUBJECT_UNKNOWN",
            metadata={"subject": name, "valid": valid},
        )
    return Reference(kind, rest)


def needs_token(name: str) -> bool:
    """Return whether the hub gives a network's weights only to an account that has accepted their licence.

    Raises:
        NotFoundError: SUBJECT_UNKNOWN.
    """
    reference = parse(name)
    return reference.library == "transformers" and is_gated(reference.rest)
