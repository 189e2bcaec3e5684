"""Pictures are prepared as each library's own transform does it, whatever their size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from maia.services.subject.backends.networks import (
    from_open_clip,
    from_timm,
    from_torchvision,
    from_transformers,
    preprocessing,
)
from maia.services.subject.backends.networks.preprocessing import Centre, Fit, Preprocessing, triple
from maia.wire.errors import PreconditionError
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb

CPU = torch.device("cpu")


def prepared(ours: Preprocessing, rgb: Rgb) -> torch.Tensor:
    return ours.batch([ours.prepare(rgb)], CPU)[0]


@pytest.mark.usefixtures("torchvision_runs")
@pytest.mark.parametrize(
    ("name", "weights"),
    [("resnet152", "IMAGENET1K_V1"), ("resnet50", "IMAGENET1K_V2"), ("vit_b_16", "IMAGENET1K_SWAG_LINEAR_V1")],
)
def test_equals_torchvision_to_the_bit(name: str, weights: str, pictures: list[Rgb]) -> None:
    from torchvision.models import get_model_weights

    transform = get_model_weights(name)[weights].transforms()
    ours = from_torchvision.preprocessing(transform)
    for rgb in pictures:
        torch.testing.assert_close(prepared(ours, rgb), transform(Image.fromarray(rgb)), rtol=0, atol=0)


@pytest.mark.usefixtures("torchvision_runs")
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize(
    ("size", "fraction", "interpolation"), [(224, 0.9, "bicubic"), (97, 0.95, "bilinear"), (64, 1.0, "lanczos")]
)
def test_equals_timm_to_the_bit(mode: str, size: int, fraction: float, interpolation: str, pictures: list[Rgb]) -> None:
    from timm.data.transforms_factory import create_transform

    config: dict[str, Any] = {
        "input_size": (3, size, size),
        "interpolation": interpolation,
        "mean": (0.4, 0.5, 0.6),
        "std": (0.2, 0.3, 0.1),
        "crop_pct": fraction,
        "crop_mode": mode,
    }
    transform, ours = create_transform(**config), from_timm.preprocessing(config)
    for rgb in pictures:
        if mode == "border" and min(rgb.shape[:2]) * size < max(rgb.shape[:2]):
            continue  # timm resizes it to a side of 0 and fails
        torch.testing.assert_close(prepared(ours, rgb), transform(Image.fromarray(rgb)), rtol=0, atol=0)


@pytest.mark.usefixtures("torchvision_runs")
@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
def test_equals_open_clip_to_the_bit(mode: str, pictures: list[Rgb]) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = PreprocessCfg(size=100, resize_mode=mode, interpolation="bicubic", fill_color=7)
    transform, ours = image_transform_v2(config, is_train=False), from_open_clip.preprocessing(vars(config))
    assert ours.mean == (0.48145466, 0.4578275, 0.40821073)
    for rgb in pictures:
        if mode == "longest" and min(rgb.shape[:2]) * 100 < max(rgb.shape[:2]):
            continue  # open_clip resizes it to a side of 0 and fails
        torch.testing.assert_close(prepared(ours, rgb), transform(Image.fromarray(rgb)), rtol=0, atol=0)


def processors() -> list[Any]:
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    return [
        ViTImageProcessorPil(size={"height": 96, "width": 96}),
        CLIPImageProcessorPil(),
        SiglipImageProcessorPil(size={"height": 112, "width": 112}),
        ConvNextImageProcessorPil(size={"shortest_edge": 97}),
        ConvNextImageProcessorPil(size={"shortest_edge": 384}),
        BitImageProcessorPil(size={"shortest_edge": 101}, crop_size={"height": 90, "width": 90}),
        ViTImageProcessorPil(size={"height": 96, "width": 96}, do_normalize=False),
    ]


@pytest.mark.parametrize("index", range(7))
def test_equals_transformers(index: int, pictures: list[Rgb]) -> None:
    """To 1e-6: transformers multiplies by 1/255 in float64 where the others divide by 255."""
    processor = processors()[index]
    ours = from_transformers.preprocessing(processor)
    for rgb in pictures:
        theirs = processor(Image.fromarray(rgb), return_tensors="pt")["pixel_values"][0]
        torch.testing.assert_close(prepared(ours, rgb), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("ours", "size", "frame"),
    [
        (Preprocessing(224, 224), (896, 448), Frame(224, 0, 672, 448)),
        (Preprocessing(256, 224), (256, 256), Frame(16, 16, 240, 240)),
        (Preprocessing(256, 224), (512, 1024), Frame(32, 288, 480, 736)),
        (Preprocessing(100, 100, Fit.SQUASH), (700, 30), Frame.whole(700, 30)),
        (Preprocessing(100, 50, Fit.SQUASH), (700, 30), Frame(175, 7.5, 525, 22.5)),
        (Preprocessing(100, 100, Fit.LONGEST), (200, 100), Frame(0, -50, 200, 150)),
        (Preprocessing(101, 100), (101, 101), Frame(0, 0, 100, 100)),
        (Preprocessing(103, 100), (103, 103), Frame(2, 2, 102, 102)),
        (Preprocessing(103, 100, centre=Centre.BEFORE), (103, 103), Frame(1, 1, 101, 101)),
        (Preprocessing(224, 224), (1, 1), Frame.whole(1, 1)),
    ],
)
def test_a_frame_is_what_the_crop_covers(ours: Preprocessing, size: tuple[int, int], frame: Frame) -> None:
    width, height = size
    assert ours.prepare(np.zeros((height, width, 3), np.uint8)).frame == frame


def test_a_thing_is_where_the_frame_says() -> None:
    """A white square in a black picture is found at its place in the input."""
    rgb = np.zeros((400, 1000, 3), np.uint8)
    rgb[100:150, 600:650] = 255
    done = Preprocessing(256, 224).prepare(rgb)
    rows, columns = np.nonzero(done.pixels[..., 0] > 127)
    scale = (done.frame.right - done.frame.left) / 224
    assert abs(done.frame.left + (columns.mean() + 0.5) * scale - 625) < scale
    assert abs(done.frame.top + (rows.mean() + 0.5) * scale - 125) < scale


def test_a_very_long_picture_costs_no_more_than_its_crop() -> None:
    """Resized whole, this one would take 50 GB."""
    rgb = np.full((1, 1_000_000, 3), 9, np.uint8)
    assert (Preprocessing(256, 224).prepare(rgb).pixels == 9).all()


@pytest.mark.parametrize("shape", [(3, 500), (900, 40), (301, 450)])
def test_only_the_crop_of_a_picture_is_the_same_to_two_levels(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    ours = Preprocessing(256, 224)
    whole = ours.prepare(rgb).pixels.astype(int)
    monkeypatch.setattr(preprocessing, "_WHOLE_UP_TO", 0)
    part = ours.prepare(rgb).pixels
    assert abs(part - whole).max() <= 2


def test_a_batch_is_its_pictures_in_channels_last_order(pictures: list[Rgb]) -> None:
    ours = Preprocessing(64, 64)
    batch = ours.batch([ours.prepare(rgb) for rgb in pictures], CPU)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    for row, rgb in enumerate(pictures):
        torch.testing.assert_close(batch[row], prepared(ours, rgb), rtol=0, atol=0)


def test_refuses_what_it_would_do_otherwise() -> None:
    with pytest.raises(PreconditionError, match="nearest") as caught:
        Preprocessing(224, 224, interpolation="nearest")
    assert caught.value.reason == "PREPROCESSING_UNSUPPORTED"
    assert triple(0.5) == (0.5, 0.5, 0.5)
    with pytest.raises(PreconditionError, match="4 numbers"):
        triple([0.1, 0.2, 0.3, 0.4])
    with pytest.raises(PreconditionError, match="square"):
        from_timm.preprocessing({"input_size": (3, 224, 160)})
    odd = processors()[0]
    odd.size = {"height": 96, "width": 90}
    with pytest.raises(PreconditionError, match="not cropped to a square"):
        from_transformers.preprocessing(odd)
