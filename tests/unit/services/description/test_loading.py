"""What is wrong with a model is said in one sentence, with what to do about it."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.services.description.tiny_models import llava, saved, tokenizer, transformers

from maia.services.description.backends.transformers.loading import load
from maia.services.description.backends.transformers.options import TransformersOptions
from maia.wire.errors import PreconditionError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(llava, tmp_path / "owner" / "model")


def refusal(options: TransformersOptions) -> PreconditionError:
    with pytest.raises(PreconditionError) as caught:
        load(options)
    return caught.value


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_model_is_found_by_name_below_the_model_folder_and_nothing_is_downloaded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    loaded = load(TransformersOptions("owner/model", model_dir=tmp_path, offline=True))
    assert type(loaded.model).__name__ == "LlavaForConditionalGeneration"
    assert (loaded.device, loaded.dtype) == ("cpu", "float32")
    assert type(loaded.processor.image_processor).__name__ == "CLIPImageProcessorPil"
    assert load(TransformersOptions(str(folder), dtype="bfloat16")).dtype == "bfloat16"


def test_what_is_not_here_is_named_with_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    (tmp_path / "empty").mkdir()
    for options in (
        TransformersOptions("nobody/nothing-of-this-name", offline=True, model_dir=tmp_path),
        TransformersOptions(str(tmp_path / "empty")),
        TransformersOptions("not a name!", offline=True),
    ):
        error = refusal(options)
        assert error.reason == "MODEL_MISSING"
        assert "hf download" in error.message
        assert "verysecret" not in error.message
        assert "\n" not in error.message
    assert refusal(TransformersOptions("")).reason == "MODEL_UNNAMED"
    (folder / "model.safetensors").unlink()
    assert refusal(TransformersOptions(str(folder))).reason == "MODEL_MISSING"


def test_damaged_files_and_missing_weights_are_named(folder: Path) -> None:
    options = TransformersOptions(str(folder))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:2000])
    assert "cannot be loaded" in refusal(options).message
    from safetensors.torch import load_file, save_file

    (folder / "model.safetensors").write_bytes(whole)
    state = load_file(folder / "model.safetensors")
    left_out = next(name for name in state if "layers.1.mlp.down_proj" in name)
    save_file({name: tensor for name, tensor in state.items() if name != left_out}, folder / "model.safetensors")
    error = refusal(options)
    assert (error.reason, "layers.1.mlp.down_proj" in error.message) == ("MODEL_MISSING", True)
    (folder / "config.json").write_text("{")
    assert refusal(options).reason == "MODEL_MISSING"


def test_a_model_for_something_else_is_refused_before_its_weights_are_read(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "bert"
    transformers.BertConfig(num_hidden_layers=1).save_pretrained(other)
    tokenizer().save_pretrained(other)
    error = refusal(TransformersOptions(str(other)))
    assert (error.reason, "is a bert" in error.message) == ("MODEL_UNSUITABLE", True)
    (folder / "model.safetensors").unlink()
    (folder / "chat_template.jinja").unlink()
    error = refusal(TransformersOptions(str(folder)))
    assert (error.reason, "chat template" in error.message) == ("MODEL_UNSUITABLE", True)


def test_code_of_a_models_own_is_not_run(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (folder / "mine.py").write_text(f"open({str(ran)!r}, 'w')\nclass Mine: ...\n")
    change(folder / "config.json", model_type="mine", auto_map={"AutoConfig": "mine.Mine"})
    assert refusal(TransformersOptions(str(folder))).reason == "MODEL_MISSING"
    assert not ran.exists()


@pytest.mark.parametrize("library", ["torch", "transformers"])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == library else find(name, *rest))
    error = refusal(TransformersOptions(str(folder)))
    assert (error.reason, error.metadata["extra"]) == ("EXTRA_MISSING", "maia[serve]")
    assert f"needs {library}; install it by: pip install 'maia[serve]'" in error.message


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("\nSomeVideoProcessor requires the Torchvision library but it was not found.\n", "'maia[torchvision]'"),
        ("Package `num2words` is required. Install it with `pip install num2words`.", "pip install num2words"),
    ],
)
def test_a_library_that_one_model_needs_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, said: str, advice: str
) -> None:
    def lacking(*_: object, **__: object) -> Any:
        raise ImportError(said)

    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", lacking)
    error = refusal(TransformersOptions(str(folder)))
    assert error.reason == "EXTRA_MISSING"
    assert advice in error.message
    assert "maia[serve]" not in error.message
    assert "\n" not in error.message


def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    for device in ("cuda:99", "tpu", "mps"):
        assert refusal(replace(TransformersOptions(str(folder)), device=device)).reason == "DEVICE_MISSING"
