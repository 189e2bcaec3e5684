"""Questions to a vision-language model on this machine: a batch at a time, greedily, stopped between tokens."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from maia.services import description
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.revision import revision_of
from maia.services.description.answers import Answer, answered, line
from maia.services.description.backends.transformers.loading import load
from maia.services.description.backends.transformers.options import TransformersOptions
from maia.services.description.model import DescriberInfo, Question, Task
from maia.services.description.prompts import prompt
from maia.wire.errors import CancelledError, InvalidRequestError

_OF_SAMPLING: Final = ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")


class TransformersDescriber:
    """Asks a model; a `maia.services.description.model.Describer`.

    Args:
        options: Which model, and how. What is raised if it cannot be loaded: see `load`.
    """

    def __init__(self, options: TransformersOptions) -> None:
        self._options = options
        self._loaded = load(options)
        model = self._loaded.model
        self._settings = _greedy(model.generation_config, self._loaded.processor.tokenizer, options)
        model.generation_config = self._settings  # from which `generate` takes whatever it is not told
        self._info = DescriberInfo(options.model, self._revision())

    @property
    def info(self) -> DescriberInfo:
        """Its description."""
        return self._info

    def key(self, task: Task, views: int) -> int:  # noqa: ARG002  what is asked may differ
        """Return the number of pictures: prompts of very different lengths would be padded in vain."""
        return views

    def answer(self, questions: Sequence[Question], abandoned: Abandoned) -> list[Answer]:
        """Answer a batch in one run of the model.

        Raises:
            CancelledError: Nobody waits for the answers any more.
            InvalidRequestError: REQUEST_TOO_LARGE: a question is longer than what the model can read.
            torch.OutOfMemoryError: They are too many, or too large.
        """
        return answered(questions, lambda others: self._asked(others, abandoned))

    def _asked(self, questions: Sequence[Question], abandoned: Abandoned) -> list[Answer]:
        import torch

        _check(abandoned)
        inputs = self._inputs(questions)
        self._check_length(inputs)

        def wanted(tokens: torch.Tensor, scores: object, **_: object) -> torch.Tensor:  # noqa: ARG001  the library's
            _check(abandoned)
            return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)

        with torch.inference_mode():
            written = self._loaded.model.generate(
                **inputs, generation_config=self._settings, stopping_criteria=[wanted]
            )
        return [
            self._read(tokens, question)
            for tokens, question in zip(_answers(inputs["input_ids"], written), questions, strict=True)
        ]

    def _inputs(self, questions: Sequence[Question]) -> Mapping[str, Any]:
        inputs = self._loaded.processor.apply_chat_template(
            [_conversation(question) for question in questions],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        moved: Mapping[str, Any] = inputs.to(self._loaded.device, self._loaded.model.dtype)
        return moved

    def _check_length(self, inputs: Mapping[str, Any]) -> None:
        room = getattr(self._loaded.model.config.get_text_config(), "max_position_embeddings", None)
        longest = int(inputs["attention_mask"].sum(1).max())
        if isinstance(room, int) and longest + self._options.max_tokens > room:
            raise InvalidRequestError(
                f"the pictures and their question are {longest} tokens and the answer at most "
                f"{self._options.max_tokens}, but {self._options.model:.100} can read {room} together; ask about fewer "
                "or smaller pictures at a time",
                reason="REQUEST_TOO_LARGE",
                metadata={"limit": str(room)},
            )

    def _read(self, tokens: list[int], question: Question) -> Answer:
        ends = self._settings.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        return line(
            self._loaded.processor.tokenizer.decode(tokens, skip_special_tokens=True),
            question,
            cut=not any(token in ends for token in tokens),
            limit=self._options.max_tokens,
            model=self._options.model,
        )

    def _revision(self) -> str:
        """Twelve hexadecimal digits that change whenever the same question may get another answer."""
        import torch
        import transformers

        code = revision_of((Path(description.__file__).parent, Path(__file__).parent))
        parts = [code, self._loaded.files, self._loaded.dtype, self._options.max_tokens]
        versions = [transformers.__version__, str(torch.__version__)]
        return hashlib.sha256(json.dumps([*parts, *versions]).encode()).hexdigest()[:12]


def _greedy(settings: Any, tokenizer: Any, options: TransformersOptions) -> Any:  # noqa: ANN401  transformers' own
    """The model's own settings, but always the likeliest token, so that one picture has one description."""
    greedy = copy.deepcopy(settings)
    greedy.update(**dict.fromkeys(_OF_SAMPLING), do_sample=False, num_beams=1)
    greedy.max_length = None
    greedy.max_new_tokens = options.max_tokens
    if greedy.eos_token_id is None:
        greedy.eos_token_id = tokenizer.eos_token_id
    if greedy.pad_token_id is None:
        greedy.pad_token_id = tokenizer.pad_token_id
    return greedy


def _conversation(question: Question) -> list[dict[str, Any]]:
    pictures = [{"type": "image", "image": Image.fromarray(view.shown, "RGB")} for view in question.views]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": prompt(question)}]}]


def _answers(asked: Any, written: Any) -> list[list[int]]:  # noqa: ANN401  tensors, (questions, tokens)
    """The tokens of each answer; most models give the question back before it."""
    length = asked.shape[1]
    repeated = written.shape[1] >= length and bool((written[:, :length] == asked).all())
    answers: list[list[int]] = (written[:, length:] if repeated else written).tolist()
    return answers


def _check(abandoned: Callable[[], bool]) -> None:
    if abandoned():
        raise CancelledError("nobody waits for these words any more; the model was stopped")
