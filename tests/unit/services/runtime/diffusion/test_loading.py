"""What is wrong with a model or a setting is said before any weight is read, with what to do about it."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.services.runtime.tiny_pipelines import flux, kontext, renamed, saved, sd

from maia.services._runtime.diffusion.loading import Loaded, load
from maia.services._runtime.diffusion.options import DiffusionOptions, Task
from maia.services._runtime.diffusion.recipes import RECIPES
from maia.services._runtime.diffusion.running import PipelineRunner
from maia.services._runtime.libraries import require_libraries
from maia.services._runtime.model_files import files_revision, reporting_missing
from maia.wire.errors import InvalidRequestError, OutOfRangeError, PreconditionError

# The libraries' own deprecation warnings, at imports and in schedulers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pipelines of which only the index is left: whoever reads a weight fails otherwise."""
    found = {}
    for name, build in {"flux": flux, "kontext": kontext, "sd": sd}.items():
        folder = saved(build, tmp_path_factory.mktemp(name) / "model")
        for weights in folder.rglob("*.safetensors"):
            weights.unlink()
        found[name] = folder
    return found


def refusal(options: DiffusionOptions, task: Task = "generation") -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        load(options, task)
    return caught.value


@pytest.mark.parametrize(("model", "task"), [("kontext", "generation"), ("sd", "editing"), ("flux", "editing")])
def test_a_pipeline_for_another_task_is_refused_with_those_that_are_right(
    folders: dict[str, Path], model: str, task: Task
) -> None:
    if (model, task) == ("kontext", "generation"):
        assert (
            refusal(DiffusionOptions(str(folders[model])), task).reason == "MODEL_MISSING"
        )  # it draws without a picture
        return
    error = refusal(DiffusionOptions(str(folders[model])), task)
    assert error.reason == "PIPELINE_UNKNOWN"
    assert "FluxKontextPipeline" in error.metadata["valid"]


@pytest.mark.parametrize("name", ["NoSuchPipeline", "StableAudioPipeline", "DiffusionPipeline", "os"])
def test_an_unknown_class_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    folder = renamed(tmp_path, name)
    for task in ("generation", "editing"):
        error = refusal(DiffusionOptions(str(folder)), task)
        assert (error.reason, error.metadata["pipeline"]) == ("PIPELINE_UNKNOWN", name)


@pytest.mark.parametrize("index", ["", "{", "[]", "{}", '{"_class_name": ["my.py", "Mine"]}'])
def test_an_index_that_cannot_be_used_is_named(tmp_path: Path, index: str) -> None:
    (tmp_path / "model_index.json").write_text(index)
    error = refusal(DiffusionOptions(str(tmp_path)))
    assert error.reason in {"MODEL_MISSING", "PIPELINE_UNKNOWN"}
    assert str(tmp_path) in error.message


@pytest.mark.parametrize("side", [{"width": 20}, {"height": 1000}])
def test_a_size_that_the_pipeline_cannot_make_is_refused_with_the_multiple(
    folders: dict[str, Path], side: dict[str, Any]
) -> None:
    error = refusal(DiffusionOptions(str(folders["flux"]), **side))
    assert isinstance(error, OutOfRangeError)
    assert (error.reason, error.metadata["multiple"]) == ("SIZE_INVALID", "16")


def test_missing_weights_and_folders_are_named_with_what_to_do(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    options = DiffusionOptions(str(folders["sd"]))
    hub = DiffusionOptions("black-forest-labs/FLUX.1-dev", offline=True, model_dir=tmp_path)
    for error in (refusal(options), refusal(hub), refusal(replace(options, model=str(tmp_path)))):
        assert error.reason == "MODEL_MISSING"
        assert "verysecret" not in error.message
        assert "download" in error.message
    told = refusal(hub).message
    assert "HF_TOKEN" in told
    assert "https://huggingface.co/black-forest-labs/FLUX.1-dev" in told
    assert str(tmp_path / "black-forest-labs/FLUX.1-dev") in told
    assert "HF_TOKEN" not in refusal(options).message
    assert refusal(DiffusionOptions("")).reason == "MODEL_UNNAMED"


def test_a_model_is_found_below_the_model_folder(folders: dict[str, Path]) -> None:
    folder = folders["sd"]
    error = refusal(DiffusionOptions("model", model_dir=folder.parent, width=20))
    assert error.reason == "SIZE_INVALID"  # so the index was read


@pytest.mark.parametrize("quantisation", ["bitsandbytes-4bit", "torchao-int8"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, quantisation: str
) -> None:
    find, library = importlib.util.find_spec, quantisation.partition("-")[0]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == library else find(name, *rest))
    error = refusal(DiffusionOptions(str(folders["sd"]), quantisation=quantisation))  # type: ignore[arg-type]
    assert error.reason == "EXTRA_MISSING"
    assert f"needs {library}; install it by: pip install 'maia[quantisation]'" in error.message
    with pytest.raises(PreconditionError, match=r"pip install 'maia\[serve\]'"):
        require_libraries("torch", "no_such_library", extra="maia[serve]")


def test_a_gguf_file_is_looked_for_first(folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    options = DiffusionOptions(str(folders["sd"]), gguf=file)
    assert refusal(options).reason == "MODEL_MISSING"
    assert str(file) in refusal(options).message
    assert refusal(replace(options, quantisation="torchao-int8")).reason == "SETTING_INVALID"


def test_bitsandbytes_without_cuda_is_refused(folders: dict[str, Path]) -> None:
    options = DiffusionOptions(str(folders["sd"]), quantisation="bitsandbytes-8bit", device="cpu")
    assert refusal(options).reason == "DEVICE_MISSING"


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "cuda:x", "mps"])
def test_a_device_that_is_not_there_is_refused(folders: dict[str, Path], device: str) -> None:
    assert refusal(DiffusionOptions(str(folders["sd"]), device=device)).reason == "DEVICE_MISSING"


def test_offload_without_an_accelerator_is_refused(folders: dict[str, Path]) -> None:
    assert refusal(DiffusionOptions(str(folders["sd"]), device="cpu", offload="model")).reason == "DEVICE_MISSING"


def test_files_have_another_name_once_any_of_them_changes(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    weights, config = tmp_path / "unet" / "w.safetensors", tmp_path / "unet" / "config.json"
    weights.write_bytes(b"1234")
    config.write_text("{}")
    names = [files_revision(tmp_path, None)]
    assert files_revision(tmp_path, None) == names[0]
    config.write_text('{"a": 1}')
    names.append(files_revision(tmp_path, None))
    weights.write_bytes(b"12345")
    names.append(files_revision(tmp_path, None))
    names.append(files_revision(tmp_path, weights))
    assert len(set(names)) == len(names)


def test_a_gated_model_is_told_apart_from_one_that_does_not_exist() -> None:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    for kind, token in ((GatedRepoError, True), (RepositoryNotFoundError, False)):
        wrapped = OSError("as diffusers wraps it, with a token=hf_secret")
        wrapped.__cause__ = kind.__new__(kind)
        with pytest.raises(PreconditionError) as caught, reporting_missing(DiffusionOptions("some/model")):
            raise wrapped
        assert caught.value.reason == "MODEL_MISSING"
        assert ("HF_TOKEN" in caught.value.message) == token
        assert "hf_secret" not in caught.value.message


def test_a_number_that_the_pipeline_does_not_take_is_refused() -> None:
    recipe = replace(RECIPES[0], guidance_name="none_such")
    with pytest.raises(InvalidRequestError, match="takes no guidance"):
        PipelineRunner(Loaded(_Pipeline(), recipe, "float32", "x"), DiffusionOptions("x", guidance=1.0))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="takes no steps"):
        PipelineRunner(Loaded(_Pipeline(), recipe, "float32", "x"), DiffusionOptions("x", steps=1))  # type: ignore[arg-type]


class _Pipeline:
    def __call__(self, prompt: list[str]) -> None: ...
