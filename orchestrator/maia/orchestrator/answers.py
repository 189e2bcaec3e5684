"""What a task ends with: four forms of an answer, each typed, and each as the plain JSON that a journal holds.

Every form also has a `description`, its prose, and `labels`, its short phrases, so that tables and files show all of
them alike:

| form | written as | description | labels |
| --- | --- | --- | --- |
| labels | [DESCRIPTION]: … [LABEL 1]: … | the description | the labels |
| bias | [BIAS]: … [CONTEXT 1]: … | the bias | the contexts |
| verdict | [VERDICT]: … [REASONING]: … | the reasoning | the verdict |
| text | [ANSWER]: … | the text | none |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, get_args

from pydantic import TypeAdapter

Form = Literal["labels", "bias", "verdict", "text"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)

TAGS: Final[Mapping[Form, str]] = MappingProxyType(
    {
        "labels": "[DESCRIPTION]: and [LABEL 1]:",
        "bias": "[BIAS]:",
        "verdict": "[VERDICT]: and [REASONING]:",
        "text": "[ANSWER]:",
    }
)
"""The tags that an answer cannot be without, as reminders name them."""

Word = Literal["SELECTIVE", "SPURIOUS", ""]


@dataclass(frozen=True, slots=True)
class Labels:
    """What a unit responds to."""

    description: str
    labels: tuple[str, ...]
    form: ClassVar[Form] = "labels"

    @property
    def complete(self) -> bool:
        """True with a description and at least one label."""
        return bool(self.description and self.labels)


@dataclass(frozen=True, slots=True)
class Bias:
    """In which contexts a class scores low.

    Attributes:
        bias: What the classifier does, and which experiments show it.
        contexts: A short phrase for each context; none where no bias was found.
    """

    bias: str
    contexts: tuple[str, ...] = ()
    form: ClassVar[Form] = "bias"

    @property
    def complete(self) -> bool:
        """True with the text of the bias."""
        return bool(self.bias)

    @property
    def description(self) -> str:
        """The bias."""
        return self.bias

    @property
    def labels(self) -> tuple[str, ...]:
        """The contexts."""
        return self.contexts


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a unit is selective for its class or for a cue that only comes with it.

    Attributes:
        verdict: Empty where the agent gave neither word, or both.
        reasoning: Which experiments show it.
    """

    verdict: Word
    reasoning: str
    form: ClassVar[Form] = "verdict"

    @property
    def complete(self) -> bool:
        """True with one of the two words and the reasoning."""
        return bool(self.verdict and self.reasoning)

    @property
    def description(self) -> str:
        """The reasoning."""
        return self.reasoning

    @property
    def labels(self) -> tuple[str, ...]:
        """The verdict."""
        return (self.verdict,) if self.verdict else ()


@dataclass(frozen=True, slots=True)
class Words:
    """The answer to a question, in the agent's words."""

    text: str
    form: ClassVar[Form] = "text"

    @property
    def complete(self) -> bool:
        """True with any text."""
        return bool(self.text)

    @property
    def description(self) -> str:
        """The text."""
        return self.text

    @property
    def labels(self) -> tuple[str, ...]:
        """None."""
        return ()


Answer = Labels | Bias | Verdict | Words

_KINDS: Final[Mapping[Form, TypeAdapter[Any]]] = MappingProxyType(
    {kind.form: TypeAdapter(kind) for kind in (Labels, Bias, Verdict, Words)}
)


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain JSON: its form, and its fields by their names."""
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(answer).items()}
    return {"form": answer.form, **fields}


def answer_from_json(value: Mapping[str, Any]) -> Answer:
    """Return the answer that `answer_to_json` wrote.

    Raises:
        ValueError: It is none.
    """
    fields = dict(value)
    form = fields.pop("form", None)
    if form not in _KINDS:
        raise ValueError(f"there is no form of answer {form!r}; valid: {', '.join(FORMS)}")
    answer: Answer = _KINDS[form].validate_python(fields)
    return answer
