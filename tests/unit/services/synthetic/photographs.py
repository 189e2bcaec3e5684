"""A folder of pictures with planted squares, and annotations of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tests.unit.services.subject.photograph_neurons.planted import Planted, picture


def write_pictures(folder: Path, contents: Mapping[str, Sequence[Planted]], *, scale: int = 2) -> Path:
    for name, planted in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(*planted, scale=scale)).save(path)
    return folder


def scores(count: int, concept: str, *, first: float = 0.95, step: float = 0.02) -> dict[str, list[Planted]]:
    """Return pictures of one concept, each a little less sure."""
    return {
        f"{concept}/{number:02}.png": [Planted(concept, first - step * number, 8, 12, 12)] for number in range(count)
    }


def coco(names: Sequence[str], categories: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return annotations: which pictures have an object of each category."""
    numbers = {name: 100 + number for number, name in enumerate(names)}
    return {
        "images": [{"id": number, "file_name": name} for name, number in numbers.items()],
        "categories": [{"id": 7 + number, "name": name} for number, name in enumerate(categories)],
        "annotations": [
            {"image_id": numbers[name], "category_id": 7 + number}
            for number, of_category in enumerate(categories.values())
            for name in of_category
        ],
    }


def write_coco(path: Path, names: Sequence[str], categories: Mapping[str, Sequence[str]]) -> Path:
    path.write_text(json.dumps(coco(names, categories)))
    return path
