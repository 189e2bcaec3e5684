"""What a contact sheet shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from maia.services.exemplars.layer import ExemplarLayer
from maia.services.exemplars.model import Exemplar, Manifest, Statistics
from maia.services.interchange.failures import shown
from maia.services.interchange.pictures import stored_picture
from maia.services.interchange.regions import MAP_QUANTILE, region
from maia.services.interchange.sheets.histogram import Histogram, histogram_of
from maia.wire.maps import darken
from maia.wire.pictures import Rgb

__all__ = ["SIDE", "Card", "Sheet", "sheet_of"]

SIDE: Final = 224
"""Longest side of a picture on the sheet; smaller ones keep theirs."""


@dataclass(frozen=True, slots=True)
class Card:
    """An exemplar.

    Attributes:
        rank: From 1.
        activation: Of the unit.
        title: Of the picture.
        original: Its longest side is at most `SIDE`.
        masked: The same, darkened where the unit does not respond.
    """

    rank: int
    activation: float
    title: str
    original: Rgb
    masked: Rgb


@dataclass(frozen=True, slots=True)
class Sheet:
    """A unit; every text can be printed.

    Attributes:
        model: Its name.
        unit: "layer4:122".
        facts: Names and values.
        histogram: None if it is unknown.
        notes: Sentences.
        cards: Highest activation first.
    """

    model: str
    unit: str
    facts: tuple[tuple[str, str], ...]
    histogram: Histogram | None
    notes: tuple[str, ...]
    cards: tuple[Card, ...]


def sheet_of(layer: ExemplarLayer, unit: int) -> Sheet:
    """Return the sheet of a unit.

    Raises:
        OutOfRangeError: UNIT_OUT_OF_RANGE.
        NotFoundError: EXEMPLARS_MISSING: the set holds other units.
        InternalError: EXEMPLARS_DAMAGED.
    """
    exemplars, known = layer.exemplars(unit), layer.statistics(unit)
    cards = tuple(_card(layer, rank, one, known.threshold) for rank, one in enumerate(exemplars, 1))
    histogram = histogram_of(known)
    return Sheet(
        shown(layer.manifest.subject),
        f"{shown(layer.layer.name)}:{unit}",
        _facts(layer.manifest, known, exemplars),
        histogram,
        tuple(_notes(layer.manifest, known, exemplars)),
        cards,
    )


def number(value: float) -> str:
    """Return a number as the sheet shows it."""
    return f"{value:.4g}"


def _card(layer: ExemplarLayer, rank: int, exemplar: Exemplar, threshold: float | None) -> Card:
    picture = exemplar.picture
    rgb = stored_picture(layer, picture)
    masked = darken(rgb, region(exemplar, rgb.shape[:2], picture.frame, threshold))
    return Card(rank, exemplar.activation, shown(picture.title), _fitted(rgb), _fitted(masked))


def _fitted(rgb: Rgb) -> Rgb:
    height, width = rgb.shape[:2]
    longest = max(height, width)
    if longest <= SIDE:
        return rgb
    size = max(1, round(width * SIDE / longest)), max(1, round(height * SIDE / longest))
    return np.asarray(Image.fromarray(rgb, "RGB").resize(size, Image.Resampling.LANCZOS))


def _facts(manifest: Manifest, known: Statistics, exemplars: Sequence[Exemplar]) -> tuple[tuple[str, str], ...]:
    unknown = "unknown"
    threshold = unknown if known.threshold is None else number(known.threshold)
    facts = [
        ("Dataset", shown(manifest.dataset)),
        ("Subject's revision", shown(manifest.subject_revision) or "unknown: an imported set"),
        ("Pictures shown", str(len(exemplars))),
        ("Threshold (0.99 quantile)", threshold),
        ("Mean", unknown if known.mean is None else number(known.mean)),
        ("Above zero", unknown if known.density is None else f"{known.density:.2%}"),
    ]
    if exemplars:
        facts.insert(3, ("Activations", f"{number(exemplars[-1].activation)} to {number(exemplars[0].activation)}"))
    return tuple(facts)


def _notes(manifest: Manifest, known: Statistics, exemplars: Sequence[Exemplar]) -> list[str]:
    notes = []
    if not exemplars:
        notes.append("No picture of the dataset could be measured.")
    if known.threshold is None and manifest.regions == "maps":
        notes.append(f"The threshold is unknown: each mask is what lies above the {MAP_QUANTILE} quantile of its map.")
    if known.histogram is None:
        notes.append("The set has no histogram: it was imported.")
    return notes
