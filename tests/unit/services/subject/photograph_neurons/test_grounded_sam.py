"""GroundingDINO and SAM of the real classes, tiny and random: what we make of them is what their own code makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.services.subject.photograph_neurons.conftest import ON_CPU
from tests.unit.services.subject.photograph_neurons.tiny_models import transformers

from maia.services.subject.backends.photograph_neurons.detecting import MAP_SIDE
from maia.services.subject.backends.photograph_neurons.grounded_sam import GroundedSam
from maia.services.subject.backends.photograph_neurons.grounding import Box, Grounding
from maia.services.subject.backends.photograph_neurons.loading import load
from maia.services.subject.backends.photograph_neurons.options import PhotographOptions
from maia.services.subject.backends.photograph_neurons.segmenting import Segmenter
from maia.wire.pictures import Rgb

CONCEPTS = ["dog", "cat", "sky", "car window", "trees"]
SHAPES = ((60, 80), (1, 1), (3, 500), (200, 3), (64, 64))


@pytest.fixture(scope="module")
def processor(tiny: PhotographOptions) -> Any:
    return transformers.GroundingDinoProcessor(
        transformers.AutoImageProcessor.from_pretrained(tiny.detector, backend="pil"),
        transformers.AutoTokenizer.from_pretrained(tiny.detector),
    )


@pytest.fixture(scope="module")
def their_model(tiny: PhotographOptions) -> Any:
    return transformers.GroundingDinoForObjectDetection.from_pretrained(tiny.detector).eval()


@pytest.fixture(scope="module")
def grounding(tiny: PhotographOptions, processor: Any) -> Grounding:
    model = transformers.GroundingDinoForObjectDetection.from_pretrained(tiny.detector).eval()
    return Grounding(model, processor.image_processor, processor.tokenizer, 0.25, 0.3)


def their_boxes(model: Any, processor: Any, rgb: Rgb, concept: str, threshold: float) -> Any:
    inputs = processor(images=rgb, text=f"{concept}.", return_tensors="pt", input_data_format="channels_last")
    with torch.inference_mode():
        outputs = model(**inputs)
    (found,) = processor.post_process_grounded_object_detection(outputs, threshold=-1, target_sizes=[(1, 1)])
    of_word = outputs.logits.sigmoid()[0, :, 1]
    sure = of_word > threshold
    return torch.cat([of_word[sure, None], found["boxes"][sure].clamp(0, 1)], 1).tolist()


@pytest.mark.parametrize("concept", ["dog", "sky"])
def test_boxes_of_many_concepts_are_those_of_the_librarys_own_code_for_each_alone(
    grounding: Grounding, their_model: Any, processor: Any, photograph: Rgb, concept: str
) -> None:
    with torch.inference_mode():
        found = grounding.find(grounding.prepare(photograph), CONCEPTS)[concept]
    ours = [[box.score, box.left, box.top, box.right, box.bottom] for box in found]
    theirs = their_boxes(their_model, processor, photograph, concept, 0.3)
    assert len(ours) > 2
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_every_word_of_a_concept_must_be_there(grounding: Grounding, photograph: Rgb) -> None:
    prompt = grounding.prompt("car window")
    assert [len(prompt.ids), *prompt.words] == [5, slice(1, 2), slice(2, 3)]
    assert grounding.prompt("trees").words == (slice(1, 3),)  # tree ##s
    scores = torch.tensor([[0.0, 0.9, 0.8, 0, 0], [0, 0.9, 0.1, 0.9, 0.9], [0, 0.2, 0.28, 0, 0], [0, 0.31, 0.4, 0, 0]])
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4]] * 4)
    kept = grounding._kept(scores, boxes, prompt)
    assert [round(box.score, 2) for box in kept] == [0.9, 0.4]
    assert kept[0].left == pytest.approx(0.4)
    assert kept[0].bottom == pytest.approx(0.7)


def test_boxes_end_at_the_picture_and_empty_ones_do_not_count(grounding: Grounding) -> None:
    scores = torch.tensor([[0.0, 0.9, 0, 0]] * 3)
    boxes = torch.tensor([[0.0, 0.5, 0.4, 3.0], [0.5, 0.5, 0.0, 0.2], [-0.5, 0.5, 0.2, 0.2]])
    (kept,) = grounding._kept(scores, boxes, grounding.prompt("dog"))
    assert [kept.left, kept.top, kept.right, kept.bottom] == pytest.approx([0, 0, 0.2, 1])


def test_what_is_too_long_or_has_no_token_is_refused_without_being_quoted(loaded: GroundedSam) -> None:
    loaded.check(["dog", "car window"])
    with pytest.raises(ValueError, match="tokens") as caught:
        loaded.check(["dog", "secret " * 30])
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="cannot read a word"):
        loaded.check(["dog \u200b"])


def test_masks_are_those_of_the_librarys_own_code(tiny: PhotographOptions, photograph: Rgb) -> None:
    model = transformers.SamModel.from_pretrained(tiny.segmenter).eval()
    pictures = transformers.AutoImageProcessor.from_pretrained(tiny.segmenter, backend="pil")
    boxes = [Box(0.5, 0.1, 0.2, 0.6, 0.9), Box(0.5, 0.5, 0.0, 1.0, 0.5)]
    segmenter = Segmenter(model, pictures)
    prepared = segmenter.prepare(photograph)
    with torch.inference_mode():
        ours = segmenter._coverage(prepared, model.get_image_embeddings(torch.from_numpy(prepared.pixels)), boxes)
    corners = [[box.left * 80, box.top * 60, box.right * 80, box.bottom * 60] for box in boxes]
    inputs = transformers.SamProcessor(pictures)(
        photograph, input_boxes=[corners], return_tensors="pt", input_data_format="channels_last"
    )
    with torch.inference_mode():
        outputs = model(
            pixel_values=inputs["pixel_values"], input_boxes=inputs["input_boxes"].float(), multimask_output=False
        )
    sizes = inputs["reshaped_input_sizes"].tolist()
    (masks,) = pictures.post_process_masks(outputs.pred_masks, sizes, sizes)
    theirs = torch.nn.functional.adaptive_avg_pool2d(masks[:, 0].float(), MAP_SIDE).numpy()
    assert 0 < theirs.mean() < 1
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


class Empty:
    """A SAM that finds nothing in any box."""

    device = torch.device("cpu")

    def get_image_embeddings(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels

    def __call__(self, *, input_boxes: torch.Tensor, **_: Any) -> Any:
        self.pred_masks = torch.full((1, input_boxes.shape[1], 1, 8, 8), -1.0)
        return self


def test_where_nothing_is_segmented_the_box_stands_for_it(tiny: PhotographOptions, photograph: Rgb) -> None:
    pictures = transformers.AutoImageProcessor.from_pretrained(tiny.segmenter, backend="pil")
    segmenter = Segmenter(Empty(), pictures)
    small = 1 / MAP_SIDE / 10
    boxes = [Box(0.5, 0, 0, 0.5, 0.25), Box(0.5, 0.5, 0.5, 0.5 + small, 0.5 + small)]
    half, dot = segmenter.outlines(segmenter.prepare(photograph), boxes)
    assert np.array_equal(np.argwhere(half == 1)[[0, -1]], [[0, 0], [13, 27]])
    assert half.sum() == 14 * 28
    assert np.argwhere(dot).tolist() == [[28, 28]]
    assert dot.max() == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_of_any_shape_are_looked_at(loaded: GroundedSam, shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    for detections in loaded.detect(loaded.prepare(rgb), ["dog", "trees"]).values():
        for one in detections:
            assert 0.25 < one.score <= 1
            assert one.outline.shape == (MAP_SIDE, MAP_SIDE)
            assert one.outline.dtype == np.float32
            assert one.outline.max() == 1
            assert one.outline.min() >= 0


def test_detections_stay_with_their_concepts(loaded: GroundedSam, photograph: Rgb) -> None:
    sight = loaded.prepare(photograph)
    together = loaded.detect(sight, CONCEPTS)
    assert list(together) == CONCEPTS
    assert sum(map(len, together.values())) > 16  # more than SAM is asked at a time
    for concept in ("cat", "trees"):
        alone = loaded.detect(sight, [concept])[concept]
        np.testing.assert_allclose([one.score for one in together[concept]], [one.score for one in alone], atol=1e-4)
        for one, other in zip(together[concept], alone, strict=True):
            assert np.abs(one.outline - other.outline).mean() < 1e-2


def test_a_picture_without_a_detection_is_not_segmented(
    tiny: PhotographOptions, photograph: Rgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = load(PhotographOptions(None, tiny.detector, tiny.segmenter, 0.9999999), ON_CPU)
    monkeypatch.setattr(type(strict._segmenter._model), "get_image_embeddings", None)
    assert strict.detect(strict.prepare(photograph), ["dog"]) == {"dog": []}
