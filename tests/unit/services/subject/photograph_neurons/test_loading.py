"""Models that are missing, of another kind, or damaged: one sentence, and nothing made up."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tests.unit.services.subject.photograph_neurons.conftest import ON_CPU

from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.photograph_neurons.backend import load_detector
from maia.services.subject.backends.photograph_neurons.options import PhotographOptions
from maia.wire.errors import PreconditionError


def refused(options: PhotographOptions, network: NetworkOptions = ON_CPU) -> PreconditionError:
    with pytest.raises(PreconditionError) as caught:
        load_detector(options, network)
    return caught.value


def test_a_missing_model_is_named_with_where_to_put_it(tiny: PhotographOptions, tmp_path: Path) -> None:
    no_detector = replace(tiny, detector="IDEA-Research/no-dino")
    no_segmenter = replace(tiny, segmenter="facebook/no-sam")
    for options, name in ((no_detector, no_detector.detector), (no_segmenter, no_segmenter.segmenter)):
        error = refused(options, replace(ON_CPU, model_dir=tmp_path))
        assert error.reason == "MODEL_MISSING"
        assert f"hf download {name} --local-dir {tmp_path / name}" in error.message
        assert "HF_TOKEN" not in error.message
    error = refused(replace(tiny, segmenter="./sam"))
    assert error.reason == "MODEL_MISSING"
    assert "there is no folder ./sam; --segmenter takes" in error.message


def test_models_are_looked_for_in_the_model_folder(tiny: PhotographOptions, tmp_path: Path) -> None:
    shutil.copytree(tiny.detector, tmp_path / "owner" / "dino")
    shutil.copytree(tiny.segmenter, tmp_path / "sam")
    named = PhotographOptions(detector="owner/dino", segmenter="owner/sam")
    assert load_detector(named, replace(ON_CPU, model_dir=tmp_path)).nbytes > 0


def test_a_model_of_another_kind_is_refused(tiny: PhotographOptions) -> None:
    error = refused(replace(tiny, detector=tiny.segmenter))
    assert error.reason == "MODEL_UNSUITABLE"
    assert "--detector takes a GroundingDINO" in error.message
    error = refused(replace(tiny, segmenter=tiny.detector))
    assert error.reason == "MODEL_UNSUITABLE"
    assert "--segmenter takes a SAM" in error.message


@pytest.mark.parametrize("damage", ["cut", "lacking", "none", "config", "tokenizer"])
def test_a_damaged_model_is_refused(tiny: PhotographOptions, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "dino"
    shutil.copytree(tiny.detector, folder)
    weights = folder / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "lacking":
        state = load_file(weights)
        lost = next(name for name in state if "text_projection" in name)
        save_file({name: value for name, value in state.items() if name != lost}, weights, {"format": "pt"})
    elif damage == "none":
        weights.unlink()
    elif damage == "config":
        (folder / "config.json").write_text("{")
    else:
        for path in [*folder.glob("tokenizer*"), *folder.glob("vocab*")]:
            path.unlink()
    error = refused(replace(tiny, detector=str(folder)))
    assert error.reason == "WEIGHTS_UNUSABLE"
    assert str(folder) in error.message
    assert "\n" not in error.message


def test_the_revision_is_of_files_and_thresholds(tiny: PhotographOptions, tmp_path: Path) -> None:
    plain = load_detector(tiny, ON_CPU).revision
    assert load_detector(tiny, ON_CPU).revision == plain
    assert load_detector(replace(tiny, box_threshold=0.26), ON_CPU).revision != plain
    folder = tmp_path / "sam"
    shutil.copytree(tiny.segmenter, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "note": 1}))
    assert load_detector(replace(tiny, segmenter=str(folder)), ON_CPU).revision != plain


def test_an_unknown_device_is_refused(tiny: PhotographOptions) -> None:
    assert refused(tiny, replace(ON_CPU, device="cuda:99")).reason == "DEVICE_UNAVAILABLE"
