"""The whole: labels and pictures in, exemplars and a label file out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from maia.services.exemplars.model import TOP
from maia.services.subject.backends.photograph_neurons.backend import PhotographNeurons
from maia.services.subject.backends.photograph_neurons.detecting import Detector
from maia.services.subject.backends.photograph_neurons.table import Mode, Rule, label_invalid, read_labels
from maia.services.subject.model import Unit
from maia.services.synthetic.choosing import Photographs, candidates
from maia.services.synthetic.finished import FinishedUnits
from maia.services.synthetic.ranking import rank
from maia.services.synthetic.writing import UnitExemplars, check_labels, is_there, write_exemplars, write_labels
from maia.wire.errors import InvalidRequestError, PreconditionError

_SHOWN: Final = 8
_SIZES: Final = range(32, 1025)

OnStep = Callable[[str, int, int], None]
"""Is told what is being done, how many pictures are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Creation:
    """What to make.

    Attributes:
        mode: Of the units.
        labels: A label file of MAIA's form, or labels separated by commas.
        dataset: Folder of pictures.
        out: Folder to write into.
        coco: Annotations that say which pictures have which concept; None to try all pictures for every unit.
        size: Side in pixels of the squares that the exemplars are.
        allow_fewer: Keep units with fewer than TOP exemplars.
    """

    mode: Mode
    labels: str
    dataset: Path
    out: Path
    coco: Path | None = None
    size: int = 224
    allow_fewer: bool = False


@dataclass(frozen=True, slots=True)
class Created:
    """What came of it.

    Attributes:
        units: How many.
        anew: Whether it was made now; otherwise it was there, and nothing more is said.
        fewest: Exemplars that every unit has.
        unreadable: Pictures that were left out since they cannot be read; of the unit with the most of them.
    """

    units: int
    anew: bool
    fewest: int | None = None
    unreadable: int | None = None


def create(asked: Creation, load: Callable[[], Detector], on_step: OnStep) -> Created:
    """Make the exemplars and the label file of the units of a mode; units that are done are not done again.

    Args:
        asked: What to make.
        load: Loads the detector, once everything else is known to be right.
        on_step: Is told how far it is.

    Raises:
        NotFoundError: DATASET_MISSING.
        InvalidRequestError: SIZE_INVALID.
        PreconditionError: LABELS_INVALID, ANNOTATIONS_INVALID, DATASET_EMPTY, TOO_FEW_PICTURES, OUT_EXISTS,
            OUT_UNWRITABLE, or what `load` raises.
    """
    if asked.size not in _SIZES:
        raise InvalidRequestError(
            f"pictures of {asked.size} pixels a side cannot be made; --size takes {_SIZES.start} to {_SIZES.stop - 1}",
            reason="SIZE_INVALID",
        )
    given, labels, rules = _labels(asked)
    check_labels(asked.out, asked.mode, labels, given)
    photographs = Photographs.of(asked.dataset)
    chosen = candidates(photographs, rules, asked.coco)
    _check_counts(labels, [len(slots) for slots in chosen], "come into question", allow_fewer=asked.allow_fewer)
    with _writing(asked.out):
        asked.out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=asked.out):  # hours are not spent where nothing can be written
            pass
    subject = PhotographNeurons({asked.mode: rules}, load())
    finished = FinishedUnits(asked.out / f".{asked.mode}-units", _revision(subject.detector, photographs, asked.size))
    keys = [finished.key(rule, slots) for rule, slots in zip(rules, chosen, strict=True)]
    made_from = {"format": 1, "units": keys, "size": asked.size, "pictures": len(photographs.names)}
    if is_there(asked.out, asked.mode, made_from):
        return Created(len(rules), anew=False)
    exemplars = []
    for index, (key, slots) in enumerate(zip(keys, chosen, strict=True)):
        ranked = finished.get(key)
        if ranked is None:
            unit = Unit(str(asked.mode), index)
            ranked = rank(
                subject, unit, photographs, slots, size=asked.size, on_picture=_heard(on_step, unit, rules, slots)
            )
            with _writing(asked.out):
                finished.put(key, ranked)
        titles = tuple(photographs.title(slot) for slot in ranked.slots.tolist())
        exemplars.append(UnitExemplars(labels[index], titles, tuple(ranked.activations.tolist()), ranked.unreadable))
    counts = [len(one.image_names) for one in exemplars]
    _check_counts(labels, counts, "turn the unit on", allow_fewer=asked.allow_fewer)
    with _writing(asked.out):
        write_labels(asked.out, asked.mode, exemplars)
        write_exemplars(asked.out, asked.mode, (finished.kept(key) for key in keys), made_from)
    finished.remove()
    return Created(len(rules), anew=True, fewest=min(counts), unreadable=max(one.unreadable for one in exemplars))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Say what to do when something cannot be written."""
    try:
        yield
    except OSError as error:
        # NumPy raises one without a reason when the disk is full.
        why = error.strerror or "the disk may be full"
        raise PreconditionError(
            f"nothing can be written to {out}: {why}; make room there or name another --out; units that are done are "
            "kept there",
            reason="OUT_UNWRITABLE",
            metadata={"path": str(out)},
        ) from error


def _heard(on_step: OnStep, unit: Unit, rules: Sequence[Rule], slots: Sequence[int]) -> Callable[[int], None]:
    return lambda done: on_step(f"unit {unit.index + 1} of {len(rules)}", done, len(slots))


def _labels(asked: Creation) -> tuple[Path | None, list[str], list[Rule]]:
    """The labels, what they mean, and the file that they are from."""
    path = Path(asked.labels)
    is_file = asked.labels.endswith(".json") or os.path.isfile(path)  # noqa: PTH113  a list may be too long for a path
    labels = read_labels(path) if is_file else [label.strip() for label in asked.labels.split(",")]
    rules = []
    for label in labels:
        try:
            rules.append(Rule.parse(asked.mode, label))
        except ValueError as error:
            raise label_invalid(label, str(error)) from None
    return path if is_file else None, labels, rules


def _revision(detector: Detector, photographs: Photographs, size: int) -> str:
    told = json.dumps([detector.revision, photographs.revision, size])
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _check_counts(labels: Sequence[str], counts: Sequence[int], what: str, *, allow_fewer: bool) -> None:
    few = [(label, count) for label, count in zip(labels, counts, strict=True) if count < TOP]
    if not few or allow_fewer:
        return
    listed = ", ".join(f"{label!r:.60} {count}" for label, count in few[:_SHOWN])
    rest = f", and {len(few) - _SHOWN} others" if len(few) > _SHOWN else ""
    raise PreconditionError(
        f"{len(few)} of {len(labels)} units have fewer than {TOP} pictures that {what}: {listed}{rest}; give a larger "
        "--dataset, or --allow-fewer to keep fewer",
        reason="TOO_FEW_PICTURES",
        metadata={"units": str(len(few))},
    )
