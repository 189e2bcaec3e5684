"""GroundingDINO: words in, boxes out.

Each concept is a text of its own: in a common one, words of different concepts would lend each other their scores.
Texts of equal length share a pass, so that none is padded, and all share the picture's features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_TEXTS: Final = 8
"""Most concepts in one pass: each has all of the picture's features to itself, half a gigabyte in the encoder."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a concept was found, as shares of the picture's width and height, 0 to 1; never empty.

    Attributes:
        score: Of its surest word.
        left: 0 at the picture's left edge.
        top: 0 at its upper edge.
        right: 1 at its right edge.
        bottom: 1 at its lower edge.
    """

    score: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Prompt:
    """A concept as the model reads it.

    Attributes:
        ids: Of its tokens, with the special ones around them.
        words: Which of the tokens each word is.
    """

    ids: tuple[int, ...]
    words: tuple[slice, ...]


class Grounding:
    """Finds boxes.

    Args:
        model: A `transformers.GroundingDinoForObjectDetection` in evaluation mode, on its device; changed.
        processor: Of its pictures; works with Pillow.
        tokenizer: Of its texts.
        box_threshold: Score that a box must exceed.
        text_threshold: Score that each word must exceed in a box.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401  transformers' classes have no types
        processor: Any,  # noqa: ANN401
        tokenizer: Any,  # noqa: ANN401
        box_threshold: float,
        text_threshold: float,
    ) -> None:
        self._model = model
        self._processor = processor
        self._tokenizer = tokenizer
        self._box_threshold = box_threshold
        self._text_threshold = text_threshold
        self._backbone = _OncePerPicture(model.model.backbone)
        model.model.backbone = self._backbone

    def prepare(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Resize and normalise a picture: float32, (1, 3, height, width)."""
        made = self._processor(images=[rgb], input_data_format="channels_last", do_pad=False, return_tensors="np")
        pixels: NDArray[np.float32] = np.asarray(made["pixel_values"], np.float32)
        return pixels

    def prompt(self, concept: str) -> Prompt:
        """Return a concept as the model reads it.

        Raises:
            ValueError: It is too long, or a word is empty for the tokenizer.
        """
        ids, words = [self._tokenizer.cls_token_id], []
        for word in concept.split():
            tokens = self._tokenizer(word, add_special_tokens=False)["input_ids"]
            if not tokens:
                raise ValueError("the detector cannot read a word of it")
            words.append(slice(len(ids), len(ids) + len(tokens)))
            ids += tokens
        ids += [self._tokenizer.convert_tokens_to_ids("."), self._tokenizer.sep_token_id]
        room = self._model.config.max_text_len
        if len(ids) > room:
            raise ValueError(f"it has {len(ids)} tokens, and the detector reads at most {room}")
        return Prompt(tuple(ids), tuple(words))

    def find(self, pixels: NDArray[np.float32], concepts: Sequence[str]) -> Mapping[str, Sequence[Box]]:
        """Return the boxes of each concept, in inference mode.

        Args:
            pixels: From `prepare`.
            concepts: Each as `prompt` takes it; none twice.
        """
        prompts = {concept: self.prompt(concept) for concept in concepts}
        found: dict[str, Sequence[Box]] = {}
        picture = torch.from_numpy(pixels).to(self._model.device)
        with self._backbone.looking_at(picture):
            for some in _alike(prompts):
                found |= zip(some, self._pass(picture, [prompts[concept] for concept in some]), strict=True)
        return {concept: found[concept] for concept in concepts}

    def _pass(self, picture: Tensor, prompts: Sequence[Prompt]) -> Iterator[Sequence[Box]]:
        ids = torch.tensor([prompt.ids for prompt in prompts], device=picture.device)
        outputs = self._model(
            pixel_values=picture.expand(len(prompts), -1, -1, -1),
            pixel_mask=_all_seen(picture).expand(len(prompts), -1, -1),
            input_ids=ids,
            token_type_ids=torch.zeros_like(ids),
            attention_mask=torch.ones_like(ids),
        )
        scores, boxes = outputs.logits.sigmoid().cpu(), outputs.pred_boxes.cpu()
        for row, prompt in enumerate(prompts):
            yield self._kept(scores[row], boxes[row], prompt)

    def _kept(self, scores: Tensor, boxes: Tensor, prompt: Prompt) -> Sequence[Box]:
        """The boxes that count.

        Args:
            scores: Of all tokens in all boxes, (boxes, room for tokens).
            boxes: Centre, width and height, (boxes, 4).
            prompt: What was looked for.
        """
        words = torch.stack([scores[:, word].amax(1) for word in prompt.words])
        best = words.amax(0)
        kept = (best > self._box_threshold) & (words > self._text_threshold).all(0)
        centre, half = boxes[kept, :2], boxes[kept, 2:] / 2
        corners = torch.cat([centre - half, centre + half], 1).clamp(0, 1)
        return [
            Box(score, *sides)
            for score, sides in zip(best[kept].tolist(), corners.tolist(), strict=True)
            if sides[0] < sides[2] and sides[1] < sides[3]
        ]


class _OncePerPicture(nn.Module):
    """The backbone of a GroundingDINO, which looks at a picture once for all texts."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self._backbone = backbone
        self.position_embedding = backbone.position_embedding  # the model asks for it by this name
        self._seen: tuple[list[tuple[Tensor, Tensor]], list[Tensor]] = ([], [])

    @contextmanager
    def looking_at(self, picture: Tensor) -> Iterator[None]:
        """Answer with the features of this picture within the context."""
        self._seen = self._backbone(picture, _all_seen(picture))
        try:
            yield
        finally:
            self._seen = ([], [])

    def forward(self, pixels: Tensor, _mask: Tensor) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
        def repeated(one: Tensor) -> Tensor:
            return one.expand(len(pixels), *one.shape[1:])

        features, positions = self._seen
        return [(repeated(one), repeated(mask)) for one, mask in features], [repeated(one) for one in positions]


def _all_seen(picture: Tensor) -> Tensor:
    return torch.ones((len(picture), *picture.shape[2:]), dtype=torch.long, device=picture.device)


def _alike(prompts: Mapping[str, Prompt]) -> Iterator[list[str]]:
    """Concepts that can share a pass."""
    by_length: dict[int, list[str]] = {}
    for concept, prompt in prompts.items():
        by_length.setdefault(len(prompt.ids), []).append(concept)
    for concepts in by_length.values():
        for start in range(0, len(concepts), _TEXTS):
            yield concepts[start : start + _TEXTS]
