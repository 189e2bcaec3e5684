"""Which pictures come into question for a unit: those that an annotation says have its concepts, or all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final, Self

from maia.services.building.datasets.files import read_whole, status
from maia.services.building.datasets.listing import list_files
from maia.services.building.datasets.names import PICTURES, shown
from maia.services.subject.backends.photograph_neurons.table import Mode, Rule
from maia.wire.errors import NotFoundError, PreconditionError

_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Photographs:
    """The pictures of a folder, to any depth, sorted by the bytes of their paths in it.

    Attributes:
        folder: As it was named.
        names: Their paths in it.
        revision: Changes with a path or a size.
    """

    folder: Path
    names: Sequence[bytes]
    revision: str

    @classmethod
    def of(cls, folder: Path) -> Self:
        """List a folder.

        Raises:
            NotFoundError: DATASET_MISSING.
            PreconditionError: DATASET_EMPTY or DATASET_UNREADABLE.
        """
        if not folder.is_dir():
            raise NotFoundError(f"there is no folder {folder}; --dataset takes one", reason="DATASET_MISSING")
        listing = list_files(folder, PICTURES)
        if not len(listing.files):
            raise PreconditionError(
                f"there is no picture in {folder} (.jpg, .jpeg, .png or .webp)",
                reason="DATASET_EMPTY",
                metadata={"path": str(folder)},
            )
        return cls(folder, tuple(listing.files.names), listing.files.revision())

    def path(self, slot: int) -> Path:
        """Return where a picture is."""
        return self.folder / os.fsdecode(self.names[slot])

    def read(self, slot: int) -> bytes:
        """Return a picture's file.

        Raises:
            OSError: It cannot be read.
            PreconditionError: PICTURE_TOO_LARGE.
        """
        path = os.fsencode(self.path(slot))
        return read_whole(path, status(path).st_size)

    def title(self, slot: int) -> str:
        """Return what people call a picture: its path in the folder."""
        return shown(self.names[slot])


def candidates(photographs: Photographs, rules: Sequence[Rule], coco: Path | None) -> list[list[int]]:
    """Return the places of the pictures that come into question for each unit, ascending.

    Args:
        photographs: Of these.
        rules: Of the units.
        coco: Annotations of objects in COCO's format; of pictures that are not in the folder they do not count. Without
            them all pictures come into question.

    Raises:
        PreconditionError: ANNOTATIONS_INVALID: the file is none, has no category of a concept's name, or is about
            other pictures.
    """
    if coco is None:
        return [list(range(len(photographs.names)))] * len(rules)
    with_category = _by_category(photographs, coco)
    unknown = dict.fromkeys(concept for rule in rules for concept in rule.concepts if concept not in with_category)
    if unknown:
        raise _invalid(
            coco,
            f"it has no category {_listed(unknown)}; its categories are {_listed(sorted(with_category), 100)}. Rename "
            "the concepts, or leave out --coco to try all pictures",
        )
    return [sorted(_combined(rule, with_category)) for rule in rules]


def _combined(rule: Rule, with_category: Mapping[str, set[int]]) -> set[int]:
    sets = [with_category[concept] for concept in rule.concepts]
    return reduce(set.__and__, sets) if rule.mode is Mode.AND else set().union(*sets)


def _by_category(photographs: Photographs, coco: Path) -> dict[str, set[int]]:
    """The places of the pictures that have an object of each category, by its name in lower case."""
    try:
        told: Any = json.loads(coco.read_bytes())
        # As in labels, where "_" cannot be part of a concept.
        names = {one["id"]: " ".join(one["name"].replace("_", " ").lower().split()) for one in told["categories"]}
        files = {one["id"]: os.fsencode(one["file_name"]) for one in told["images"]}
        pairs = [(one["category_id"], one["image_id"]) for one in told["annotations"]]
        found: dict[str, set[int]] = {name: set() for name in names.values()}
        slots = {name: slot for slot, name in enumerate(photographs.names)}
        places = {number: slots[name] for number, name in files.items() if name in slots}
        for number, (category, image) in enumerate(pairs):
            if category not in names:
                raise ValueError(f"annotation {number} has the category_id {category}, which no category has")
            if image in places:
                found[names[category]].add(places[image])
    except FileNotFoundError:
        raise _invalid(coco, "there is no such file") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        told_why = f"{type(error).__name__}: {error}"
        raise _invalid(
            coco, f"it is no file of annotations in COCO's format ({' '.join(told_why.split()):.200})"
        ) from error
    if not places:
        raise _invalid(coco, f"none of its {len(files)} pictures is in {photographs.folder}")
    return found


def _invalid(coco: Path, why: str) -> PreconditionError:
    return PreconditionError(
        f"the annotations in {coco} cannot be used: {why}", reason="ANNOTATIONS_INVALID", metadata={"path": str(coco)}
    )


def _listed(names: Iterable[str], most: int = _SHOWN) -> str:
    several = list(names)
    rest = f", and {len(several) - most} others" if len(several) > most else ""
    return ", ".join(repr(name) for name in several[:most]) + rest
