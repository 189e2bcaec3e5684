"""What each unit responds to: MAIA's label files, one for each mode.

A file is a JSON list with one object for each unit, in the order of the units. Its "label" names the concepts, several
of them separated by "_" ("dog_leash"); "image_names" and "activations", of the unit's exemplars, are not needed here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from maia.wire.errors import InvalidRequestError, PreconditionError

_SEPARATOR: Final = "_"
_ENDS: Final = (".", "?")
"""What ends a phrase for GroundingDINO: with one inside, a concept would be two."""


class Mode(StrEnum):
    """How the concepts of a unit are combined. Its value is the layer's name."""

    MONO = "mono"
    """There is one."""

    OR = "or"
    """Any of them turns the unit on."""

    AND = "and"
    """Only all of them together do, wherever on the picture each is."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a unit is on.

    Attributes:
        mode: How its concepts are combined.
        concepts: In lower case; one for MONO, else at least two different ones.
    """

    mode: Mode
    concepts: tuple[str, ...]

    @classmethod
    def parse(cls, mode: Mode, label: str) -> Rule:
        """Read a label. In one of MONO "_" stands for a space.

        Raises:
            ValueError: It has too few concepts, or one that cannot be looked for. The message does not quote it, since
                it may reach an agent.
        """
        parts = [label.replace(_SEPARATOR, " ")] if mode is Mode.MONO else label.split(_SEPARATOR)
        concepts = tuple(" ".join(part.lower().split()) for part in parts)
        if not all(any(letter.isalnum() for letter in concept) for concept in concepts):
            raise ValueError("it has a concept without a letter")
        if any(end in concept for concept in concepts for end in _ENDS):
            raise ValueError(f"it has {' or '.join(_ENDS)} in a concept, which ends a phrase for the detector")
        if mode is not Mode.MONO and len(concepts) < 2:
            raise ValueError(f'units of "{mode}" have at least two concepts, separated by {_SEPARATOR}')
        if len(set(concepts)) < len(concepts):
            raise ValueError("it has the same concept twice")
        return cls(mode, concepts)


def read_folder(folder: Path | None) -> dict[Mode, tuple[Rule, ...]]:
    """Read the label files of a folder.

    Returns:
        Units by mode, in the order of `Mode`, for those whose file is there.

    Raises:
        PreconditionError: LABELS_MISSING or LABELS_INVALID.
    """
    if folder is None:
        raise _missing("which labels? synthetic_neurons needs --labels", "")
    files = {mode: folder / f"{mode}.json" for mode in Mode}
    there = {mode: read_file(path, mode) for mode, path in files.items() if path.is_file()}
    if not there:
        raise _missing(f"there is no label file in {folder}", str(folder))
    return there


def read_file(path: Path, mode: Mode) -> tuple[Rule, ...]:
    """Read a label file.

    Raises:
        PreconditionError: LABELS_INVALID: it is none. The message quotes no label.
    """
    rules = []
    for number, label in enumerate(read_labels(path)):
        try:
            rules.append(Rule.parse(mode, label))
        except ValueError as error:
            raise labels_invalid(path, f"the label of entry {number} cannot be used: {error}") from None
    return tuple(rules)


def read_labels(path: Path) -> list[str]:
    """Return the labels of a label file as they are.

    Raises:
        PreconditionError: LABELS_INVALID.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise labels_invalid(path, "there is no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise labels_invalid(path, f"it is no JSON ({type(error).__name__})") from None
    if not isinstance(entries, list) or not entries:
        raise labels_invalid(path, "it is no list with an object for each unit")
    labels = []
    for number, entry in enumerate(entries):
        label = entry.get("label") if isinstance(entry, dict) else None
        if not isinstance(label, str):
            raise labels_invalid(path, f'entry {number} is no object with a text under "label"')
        if not label.isascii() and any("\ud800" <= letter <= "\udfff" for letter in label):
            raise labels_invalid(path, f"the label of entry {number} is no text: it has half of a surrogate pair")
        labels.append(label)
    return labels


def labels_invalid(path: Path, why: str) -> PreconditionError:
    """Return LABELS_INVALID."""
    return PreconditionError(
        f"the label file {path} cannot be used: {why}", reason="LABELS_INVALID", metadata={"path": str(path)}
    )


def label_invalid(label: str, why: str) -> PreconditionError:
    """Return LABELS_INVALID for one label, which it quotes: for who wrote it."""
    return PreconditionError(f"the label {label!r:.100} cannot be used: {why}", reason="LABELS_INVALID")


def _missing(what: str, folder: str) -> InvalidRequestError:
    files = ", ".join(f"{mode}.json" for mode in Mode)
    return PreconditionError(
        f"{what}: a folder with {files}, or some of them; make them by: maia synthetic create",
        reason="LABELS_MISSING",
        metadata={"labels": folder},
    )
