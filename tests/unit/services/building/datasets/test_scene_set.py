"""The scene set as a dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from maia.services.building.datasets.scene_set import SceneSet
from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.png import embedded_scene
from maia.wire.errors import PreconditionError


def test_the_first_scenes_of_the_fixed_set(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    scenes = SceneSet(tmp_path, 3, lambda *step: told.append(step))
    assert (len(scenes), scenes.name, scenes.title(2), scenes.notes) == (3, "scenes-v1", "scene 2", ())
    assert [embedded_scene(scenes.read(slot)) for slot in range(3)] == [fixed_scene(slot) for slot in range(3)]
    assert told == [("rendering", done, 3) for done in (1, 2, 3)]
    assert scenes.revision == SceneSet(tmp_path / "elsewhere", 1).revision
    assert scenes.duplicates == {}


def test_the_same_picture_twice_is_a_duplicate(tmp_path: Path) -> None:
    scenes = SceneSet(tmp_path, 3)
    first, *_, last = sorted(tmp_path.rglob("*.png"))
    last.write_bytes(first.read_bytes())
    assert scenes.duplicates == {2: 0}


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(PreconditionError, match="choose another folder") as caught:
        SceneSet(tmp_path / "store", 1)
    assert caught.value.reason == "STORE_UNWRITABLE"
