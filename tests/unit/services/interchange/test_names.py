"""Names become folders and come back."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.services.interchange.names import folder_name, name_of, natural_order


@given(st.text(st.characters(codec="utf-8")))
def test_every_name_is_one_folder_and_comes_back(name: str) -> None:
    folder = folder_name(name)
    assert PurePosixPath(folder).parts == (folder,)
    assert folder not in {".", ".."}
    assert not folder.startswith(".")
    assert "\0" not in folder
    assert name_of(folder) == name


@pytest.mark.parametrize("name", ["layer4", "blocks.1.mlp.fc1", "clip-RN50", "timm:resnet50", "a b"])
def test_usual_names_stay_as_they_are(name: str) -> None:
    assert folder_name(name) == name


@pytest.mark.parametrize("folder", ["50%20off", "100%", "%zz", "%2f"])
def test_folders_of_others_are_called_what_they_are(folder: str) -> None:
    assert name_of(folder) == folder


def test_numbers_in_names_are_ordered_as_numbers() -> None:
    names = ["layer10", "conv1", "layer2", "blocks.11.fc", "blocks.2.fc", "layer2b"]
    assert sorted(names, key=natural_order) == ["blocks.2.fc", "blocks.11.fc", "conv1", "layer2", "layer2b", "layer10"]
