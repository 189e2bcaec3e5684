"""MAIA's label files, read as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maia.services.subject.backends.photograph_neurons.table import Mode, Rule, read_file, read_folder, read_labels
from maia.wire.errors import PreconditionError


def write(folder: Path, mode: str, *labels: str) -> Path:
    """Write a label file of MAIA's form."""
    path = folder / f"{mode}.json"
    entries = [
        {"label": label, "image_names": [f"{i:02}.jpg" for i in range(15)], "activations": [0.9 - 0.01 * i] * 15}
        for i, label in enumerate(labels)
    ]
    path.write_text(json.dumps(entries, indent=4))
    return path


def test_units_are_numbered_as_in_the_files_and_layers_are_the_modes(tmp_path: Path) -> None:
    write(tmp_path, "and", "dog_leash")
    write(tmp_path, "mono", "stripes", "car window")
    write(tmp_path, "or", "Guitar_trumpet", "a_b_c")
    (tmp_path / "notes.json").write_text("{}")
    rules = read_folder(tmp_path)
    assert list(rules) == ["mono", "or", "and"]
    assert [rule.concepts for rule in rules[Mode.MONO]] == [("stripes",), ("car window",)]
    assert [rule.concepts for rule in rules[Mode.OR]] == [("guitar", "trumpet"), ("a", "b", "c")]
    assert [rule.concepts for rule in rules[Mode.AND]] == [("dog", "leash")]


def test_some_files_are_enough(tmp_path: Path) -> None:
    write(tmp_path, "or", "a_b")
    assert list(read_folder(tmp_path)) == [Mode.OR]


def test_in_a_mono_label_an_underscore_is_a_space() -> None:
    assert Rule.parse(Mode.MONO, " Traffic_light ").concepts == ("traffic light",)


def test_without_labels_it_is_said_how_to_make_them(tmp_path: Path) -> None:
    for folder in (None, tmp_path, tmp_path / "nowhere"):
        with pytest.raises(PreconditionError, match="make them by: maia synthetic create") as caught:
            read_folder(folder)
        assert caught.value.reason == "LABELS_MISSING"


@pytest.mark.parametrize(
    ("mode", "label"),
    [
        ("mono", ""),
        ("mono", " _ "),
        ("mono", "---"),
        ("mono", "secret. cat"),
        ("mono", "secret?"),
        ("or", "secret"),
        ("and", "secret_"),
        ("and", "secret_secret"),
        ("or", "_secret"),
    ],
)
def test_a_label_that_cannot_be_looked_for_is_refused_without_being_quoted(
    tmp_path: Path, mode: str, label: str
) -> None:
    write(tmp_path, mode, "dog" if mode == "mono" else "dog_cat", label)
    with pytest.raises(PreconditionError, match="entry 1") as caught:
        read_folder(tmp_path)
    assert caught.value.reason == "LABELS_INVALID"
    assert "secret" not in caught.value.message


def test_half_of_a_surrogate_pair_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "mono.json").write_text('[{"label": "dog"}, {"label": "\\ud800 cat"}]')
    with pytest.raises(PreconditionError, match="label of entry 1 is no text") as caught:
        read_folder(tmp_path)
    caught.value.message.encode()
    with pytest.raises(PreconditionError, match="there is no such file"):
        read_file(tmp_path / "none.json", Mode.MONO)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "[1]", '[{"label": 3}]', '[{"name": "dog"}]', "[" * 100_000, "\xff"]
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "mono.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(PreconditionError, match=r"mono\.json") as caught:
        read_labels(path)
    assert caught.value.reason == "LABELS_INVALID"
