"""Names, and what is said where something is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from maia.services.subject.backends.networks.catalogue import Reference, load, needs_token, parse
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.wire.errors import NotFoundError, PreconditionError


@pytest.mark.parametrize(
    ("name", "library", "rest"),
    [
        ("resnet152", "torchvision", "resnet152/IMAGENET1K_V1"),
        ("clip-RN50", "open_clip", "RN50/openai"),
        ("clip-ViT-B32", "open_clip", "ViT-B-32/openai"),
        ("dino_vits8", "timm", "vit_small_patch8_224.dino"),
        ("transformers:facebook/dinov2-small", "transformers", "facebook/dinov2-small"),
        ("timm:/models/mine", "timm", "/models/mine"),
        ("python:my.package:make", "python", "my.package:make"),
    ],
)
def test_reads_names(name: str, library: str, rest: str) -> None:
    assert parse(name) == Reference(library, rest)


@pytest.mark.parametrize("name", ["", "resnet", "timm", "timm:", "keras:vgg", "python:module", "python::f", ":x"])
def test_refuses_other_names_with_the_forms(name: str) -> None:
    with pytest.raises(NotFoundError, match="torchvision:NAME") as caught:
        parse(name)
    assert caught.value.reason == "SUBJECT_UNKNOWN"
    assert "clip-ViT-B32" in caught.value.metadata["valid"]


def test_knows_which_weights_need_a_token() -> None:
    assert needs_token("transformers:facebook/dinov3-vits16-pretrain-lvd1689m")
    assert not any(map(needs_token, ("resnet152", "transformers:facebook/dinov2-small")))


@pytest.mark.usefixtures("torchvision_runs")
@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("resnet152", "resnet152-394f9c45.pth"),
        ("clip-RN50", "https://huggingface.co/timm/resnet50_clip.openai"),
        ("clip-ViT-B32", "https://huggingface.co/timm/vit_base_patch32_clip_224.openai"),
        ("dino_vits8", "https://huggingface.co/timm/vit_small_patch8_224.dino"),
        ("transformers:facebook/dinov2-small", "https://huggingface.co/facebook/dinov2-small"),
    ],
)
def test_says_which_files_are_missing_and_where_to_put_them(name: str, missing: str, tmp_path: Path) -> None:
    with pytest.raises(PreconditionError) as caught:
        load(name, NetworkOptions(device="cpu", model_dir=tmp_path, offline=True))
    assert caught.value.reason == "MODEL_MISSING"
    assert missing in caught.value.message
    assert "offline" in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("torchvision_runs")
@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("torchvision:resnet51", "resnet50"),
        ("torchvision:resnet50/IMAGENET1K_V9", "IMAGENET1K_V2"),
        ("torchvision:fasterrcnn_resnet50_fpn", "resnet50"),
        ("timm:vit_small_patch8_225", "vit_small_patch8_224"),
        ("timm:vit_small_patch8_224.dyno", "vit_small_patch8_224.dino"),
        ("open_clip:RN51/openai", "RN50"),
        ("open_clip:RN50/closedai", "openai"),
    ],
)
def test_names_the_nearest_of_a_library(name: str, nearest: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        load(name, NetworkOptions(device="cpu", model_dir=tmp_path, offline=True))
    assert caught.value.reason == "SUBJECT_UNKNOWN"
    assert nearest in caught.value.metadata["valid"]


ABSENT = """
import sys; sys.modules[{module!r}] = None
from maia.services.subject.backends.networks.catalogue import load
from maia.wire.errors import PreconditionError
try: load({name!r})
except PreconditionError as error: print(error.reason, error)
"""


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("resnet152", "torch", "torchvision"),
        ("resnet152", "torchvision", "torchvision"),
        ("dino_vits8", "timm", "timm"),
        ("clip-RN50", "open_clip", "open-clip"),
        ("transformers:x/y", "transformers", "serve"),
    ],
)
def test_names_the_extra_of_an_absent_library(name: str, module: str, extra: str) -> None:
    code = ABSENT.format(name=name, module=module)
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.startswith(f"EXTRA_MISSING this subject needs {module}")
    assert f"maia[{extra}]" in output


def test_explains_a_torchvision_that_does_not_fit_its_torch() -> None:
    from maia.services.subject.backends.networks.failures import library

    with pytest.raises(PreconditionError, match=r"pytorch\.org") as caught, library("torchvision", extra="timm"):
        raise RuntimeError("operator torchvision::nms does not exist")
    assert caught.value.reason == "EXTRA_UNUSABLE"
    with pytest.raises(RuntimeError), library("torchvision", extra="timm"):
        raise RuntimeError("something else")


def test_importing_the_catalogue_imports_no_library() -> None:
    code = (
        "import sys; import maia.services.subject.backends.networks.catalogue\n"
        "print(sorted({'torch', 'torchvision', 'timm', 'open_clip', 'transformers'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
