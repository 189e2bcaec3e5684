"""The fixed scene set as picture files, rendered once for all subjects.

<store>/datasets/scenes-v1-<revision>-<size>/000000.png …
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from maia.services import scenes
from maia.services._runtime.revision import revision_of
from maia.services.exemplars.folders import new_folder
from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.png import encode
from maia.services.scenes.render import render

NAME: Final = "scenes-v1"
DEFAULT_SIZE: Final = 2400
"""Pictures: six times through all pairs of colour and shape with all textures."""


@dataclass(frozen=True, slots=True)
class SceneDataset:
    """The first `size` scenes of the fixed set, on disk."""

    folder: Path
    revision: str
    size: int

    def read(self, index: int) -> bytes:
        """Return a picture's PNG, which carries its scene."""
        return picture_path(self.folder, index).read_bytes()

    def read_many(self, indices: Sequence[int]) -> list[bytes]:
        """Return several pictures' PNGs."""
        return [self.read(index) for index in indices]


def render_dataset(
    store: Path, size: int = DEFAULT_SIZE, on_rendered: Callable[[int], None] | None = None
) -> SceneDataset:
    """Return the dataset, rendering first what the store does not have of this revision and size.

    Single pictures may be missing: what cleans caches deletes files, not folders.

    Args:
        store: Root of the exemplar store.
        size: Number of pictures.
        on_rendered: Called with the number of pictures that are done.
    """
    revision = scene_revision()
    folder = dataset_folder(store, NAME, revision, size)
    if not folder.exists():
        with new_folder(folder) as building:
            for index in range(size):
                picture_path(building, index).write_bytes(_drawn(index))
                if on_rendered is not None:
                    on_rendered(index + 1)
    for index in range(size):
        path = picture_path(folder, index)
        if not (path.exists() and path.stat().st_size):
            part = path.with_suffix(f".{os.getpid()}.part")
            part.write_bytes(_drawn(index))
            part.replace(path)
    return SceneDataset(folder, revision, size)


def scene_revision() -> str:
    """Return what changes when the scenes are drawn otherwise."""
    return revision_of([Path(scenes.__file__).parent])


def _drawn(index: int) -> bytes:
    scene = fixed_scene(index)
    return encode(scene, render(scene))


def dataset_folder(store: Path, name: str, revision: str, size: int) -> Path:
    """Return where a dataset's pictures are."""
    return store / "datasets" / f"{name}-{revision}-{size}"


def picture_path(folder: Path, index: int) -> Path:
    """Return the file of one picture of a dataset."""
    return folder / f"{index:06d}.png"
