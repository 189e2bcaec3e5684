"""Writes an exemplar set; `store` says which files there are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maia.services.exemplars.model import KeptPicture, LayerArrays
from maia.services.exemplars.row_file import row_file

__all__ = ["SetWriter"]


@dataclass(frozen=True, slots=True)
class SetWriter:
    """Writes a set's files into a folder that is not there yet for anybody else."""

    folder: Path

    def write_layer(self, number: int, arrays: LayerArrays) -> None:
        """Write layer `number` of the manifest."""
        layer = self.folder / str(number)
        layer.mkdir()
        for field in dataclasses.fields(LayerArrays):
            array = getattr(arrays, field.name)
            if array is not None:
                np.save(layer / f"{field.name}.npy", array, allow_pickle=False)

    def write_masks(self, number: int, rows: Iterator[NDArray[np.uint8]], shape: tuple[int, int, int]) -> None:
        """Write the masks of a layer whose other arrays are there, if they are too many for `write_layer`.

        Args:
            number: Of the layer.
            rows: uint8, (top, bytes) each, as in `LayerArrays`.
            shape: (rows, top, bytes).
        """
        with row_file(self.folder / str(number) / "masks.npy", np.uint8, shape) as append:
            for row in rows:
                append(row)

    def write_pictures(self, pictures: Iterator[KeptPicture], samples: Sequence[int] = ()) -> None:
        """Write pictures as they come.

        Args:
            pictures: By their places in the dataset, ascending.
            samples: Places of the sample, ascending.
        """
        places: list[tuple[int, int, int]] = []
        frames, titles = [], []
        offset = 0
        with (self.folder / "pictures.bin").open("wb") as pack:
            for picture in pictures:
                pack.write(picture.data)
                places.append((picture.index, offset, len(picture.data)))
                offset += len(picture.data)
                frames.append(dataclasses.astuple(picture.frame))
                titles.append(picture.title)
        np.save(self.folder / "pictures.npy", np.array(places, np.int64).reshape(-1, 3), allow_pickle=False)
        np.save(self.folder / "frames.npy", np.array(frames, np.float64).reshape(-1, 4), allow_pickle=False)
        np.save(self.folder / "samples.npy", np.array(samples, np.int64), allow_pickle=False)
        (self.folder / "titles.json").write_text(json.dumps(titles, ensure_ascii=False), encoding="utf-8")

    def write_report(self, skipped: Sequence[dict[str, object]]) -> None:
        """Write which pictures were skipped, and why."""
        told = json.dumps({"skipped": list(skipped)}, indent=1, ensure_ascii=False)
        (self.folder / "report.json").write_text(told + "\n", encoding="utf-8")
