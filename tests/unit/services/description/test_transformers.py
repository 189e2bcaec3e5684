"""Vision-language models with random weights, loaded from disk by the real loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.services.description.tiny_models import MODELS, ROOM, llava, saved
from tests.unit.services.description.views import described, upper_half, views
from tests.unit.services.runtime.pictures import after, never, noise

from maia.services.description.backends.transformers.describer import TransformersDescriber
from maia.services.description.backends.transformers.options import TransformersOptions
from maia.services.description.model import Question, Task, View
from maia.services.description.prompts import prompt
from maia.wire.errors import CancelledError, InvalidRequestError
from maia.wire.maps import darken

# The libraries' own deprecation warnings, at imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TOKENS = 12

Opened = Callable[[str], TransformersDescriber]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Saves and loads a model once."""
    loaded: dict[str, TransformersDescriber] = {}

    def open_(name: str) -> TransformersDescriber:
        if name not in loaded:
            folder = saved(MODELS[name], tmp_path_factory.mktemp(name) / "model")
            loaded[name] = TransformersDescriber(TransformersOptions(str(folder), max_tokens=TOKENS))
        return loaded[name]

    return open_


def heard(patch: pytest.MonkeyPatch, owner: Any, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Note the arguments and let the call through."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    method = getattr(owner, name)

    def noted(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return method(*args, **kwargs)

    patch.setattr(owner, name, noted)
    return calls


@pytest.mark.parametrize("name", MODELS)
def test_words_are_the_same_alone_and_among_neighbours_of_other_sizes(opened: Opened, name: str) -> None:
    describer = opened(name)
    questions = described(*views())
    together = describer.answer(questions, never)
    assert together == [describer.answer([question], never)[0] for question in questions]
    assert together == describer.answer(questions, never)
    assert len(set(map(str, together))) > 2  # so that the pictures have a say
    for words in together:
        assert isinstance(words, str)
        assert words
    assert len({describer.key(Task.DESCRIBE, 1) for _ in questions}) == 1


@pytest.mark.parametrize("name", ["idefics3", "qwen"])
def test_shorter_prompts_are_padded_on_the_left(opened: Opened, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    describer = opened(name)
    generate = heard(monkeypatch, describer._loaded.model, "generate")
    describer.answer(described(*views()), never)
    ((_, inputs),) = generate
    mask = inputs["attention_mask"]
    assert (mask == 0).any()
    assert (mask[:, -1] == 1).all()


@pytest.mark.parametrize("name", MODELS)
def test_a_summary_looks_at_all_pictures_and_is_the_same_beside_another(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    describer = opened(name)
    all_of = Question(Task.SUMMARIZE, tuple(views()))
    others = Question(Task.SUMMARIZE, tuple(View(noise(90 + n, 50, 70), None) for n in range(5)))
    together = describer.answer([all_of, others], never)
    assert together == [describer.answer([question], never)[0] for question in (all_of, others)]
    generate = heard(monkeypatch, describer._loaded.model, "generate")
    for shown in (views()[:4], views(), [views()[4]]):
        describer.answer([Question(Task.SUMMARIZE, tuple(shown))], never)
    mark = describer._loaded.model.config.image_token_id
    four, five, last = (int((inputs["input_ids"] == mark).sum()) for _, inputs in generate)
    assert five == four + last > four
    assert describer.key(Task.SUMMARIZE, 5) != describer.key(Task.SUMMARIZE, 6)


def test_the_processor_is_given_darkened_pictures_and_the_question_for_them(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    describer = opened("llava")
    calls = heard(monkeypatch, describer._loaded.processor, "apply_chat_template")
    whole, masked, *_ = views()
    questions = [*described(whole, masked), Question(Task.SUMMARIZE, (masked, whole))]
    for question in questions:
        describer.answer([question], never)
    assert masked.mask is not None
    dark = darken(masked.rgb, masked.mask)
    assert not np.array_equal(dark, masked.rgb)
    for question, (arguments, _), pixels in zip(
        questions, calls, ([whole.rgb], [dark], [dark, whole.rgb]), strict=True
    ):
        (((message,),),) = arguments
        *pictures, words = message["content"]
        assert message["role"] == "user"
        for picture, rgb in zip(pictures, pixels, strict=True):
            assert isinstance(picture["image"], Image.Image)
            assert np.array_equal(np.asarray(picture["image"]), rgb)
        assert words == {"type": "text", "text": prompt(question)}


def test_what_a_mask_leaves_out_does_not_get_to_the_model_at_its_brightness(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    describer = opened("llava")
    generate = heard(monkeypatch, describer._loaded.model, "generate")
    white = np.full((28, 28, 3), 255, np.uint8)
    describer.answer(described(View(white, upper_half(28, 28))), never)
    pixels = generate[0][1]["pixel_values"][0]
    processor = describer._loaded.processor.image_processor
    back = pixels * torch.tensor(processor.image_std)[:, None, None] + torch.tensor(processor.image_mean)[:, None, None]
    assert torch.allclose(back[:, :13], torch.ones(()), atol=1e-3)
    assert torch.allclose(back[:, 15:], torch.tensor(63 / 255), atol=1e-3)


def test_a_run_stops_between_tokens_when_nobody_waits(opened: Opened) -> None:
    describer = opened("llava")
    forwards: list[object] = []
    hook = describer._loaded.model.register_forward_hook(lambda *_: forwards.append(None))
    try:
        with pytest.raises(CancelledError):
            describer.answer(described(*views()), after(4))
        assert len(forwards) == 4  # asked once before, and after each
        with pytest.raises(CancelledError):
            describer.answer(described(*views()), lambda: True)
        assert len(forwards) == 4
        describer.answer(described(*views()), never)
        assert len(forwards) == 4 + TOKENS
    finally:
        hook.remove()


def test_an_answer_ends_where_the_model_ends_it_or_shows_that_it_was_cut(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    describer = opened("llava")
    question = described(views()[0])
    (cut,) = describer.answer(question, never)
    assert isinstance(cut, str)
    assert cut.endswith("…")
    assert len(cut) <= TOKENS + 1
    last = describer._loaded.processor.tokenizer.convert_tokens_to_ids(cut[3])
    monkeypatch.setattr(describer._settings, "eos_token_id", [2, last])
    (ended,) = describer.answer(question, never)
    assert ended == cut[: cut.index(cut[3]) + 1]


def test_more_than_the_model_can_read_is_refused_with_its_room(opened: Opened) -> None:
    describer = opened("idefics3")
    picture = View(noise(1, 64, 64), None)
    few = Question(Task.SUMMARIZE, (picture,) * 20)
    many = Question(Task.SUMMARIZE, (picture,) * 200)
    assert isinstance(describer.answer([few], never)[0], str)
    with pytest.raises(InvalidRequestError) as caught:
        describer.answer([many], never)
    assert (caught.value.reason, caught.value.metadata["limit"]) == ("REQUEST_TOO_LARGE", str(ROOM))


def test_the_revision_changes_with_the_files_the_numbers_and_the_limit(opened: Opened, tmp_path: Path) -> None:
    describer = opened("llava")
    folder = describer.info.name
    assert TransformersDescriber(TransformersOptions(folder, max_tokens=TOKENS)).info == describer.info
    others = [
        TransformersDescriber(TransformersOptions(folder, max_tokens=TOKENS + 1)),
        TransformersDescriber(TransformersOptions(folder, max_tokens=TOKENS, dtype="bfloat16")),
        TransformersDescriber(TransformersOptions(str(saved(llava, tmp_path / "m")), max_tokens=TOKENS)),
    ]
    assert len({other.info.revision for other in (describer, *others)}) == 4
    (words,) = others[1].answer(described(views()[0]), never)
    assert isinstance(words, str)
