"""A task: its texts, and the values that stand in them."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from types import MappingProxyType
from typing import Final, Literal

from maia.orchestrator.answers import TAGS, Form

Units = Literal["any", "class"]
"""Which units a task is for; "class" are the outputs of a classifier."""

REMINDERS: Final = ("final", "no_code", "empty_reply", "cut_block", "format", "unproven")

PLACEHOLDERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "system": ("rules", "form", "tools"),
        "task": ("rounds", "unit", "question"),
        "rules": (),
        "form": (),
        "tools": ("api", "prompt_guide", "instruction_guide"),
        **dict.fromkeys(REMINDERS, ("tags", "form")),
    }
)
"""The texts of a task, and what `$name` may stand in each. All but `system` and `task` are shared unless a task has its
own."""

DEFAULT: Final = "neuron_description"

_SLUG_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked.

    Attributes:
        name: Its folder's, or its file's without the suffix.
        form: What it ends with.
        texts: One for each of PLACEHOLDERS.
        units: Which units it is for.
        question: A user's, for the tasks that take one.
    """

    name: str
    form: Form
    texts: Mapping[str, str]
    units: Units = "any"
    question: str = ""

    def system_prompt(self, *, api: str, prompt_guide: str, instruction_guide: str) -> str:
        """Return the system prompt; the same for every unit that meets the same servers, so that vendors can cache it.

        Args:
            api: The tools as `maia.orchestrator.api_text` renders them.
            prompt_guide: How to write prompts, from the generation server.
            instruction_guide: How to write edit instructions, from the editing server.
        """
        tools = self._filled("tools", api=api, prompt_guide=prompt_guide, instruction_guide=instruction_guide)
        return self._filled("system", rules=self._filled("rules"), form=self._filled("form"), tools=tools)

    def task_prompt(self, *, rounds: int, unit: str = "") -> str:
        """Return the first message.

        Args:
            rounds: How many the agent has.
            unit: The unit in words, from `units.unit_in_words`.
        """
        return self._filled("task", rounds=rounds, unit=unit, question=self.question)

    def reminder(self, name: str) -> str:
        """Return what to say to a reply that lacks something."""
        return self._filled(name, tags=TAGS[self.form], form=self._filled("form"))

    @property
    def asks_question(self) -> bool:
        """Whether a user's question stands in its text."""
        return "question" in Template(self.texts["task"]).get_identifiers()

    @property
    def folder(self) -> str:
        """Where results of this task lie under those of all; empty for the first task, as in MAIA."""
        if self.name == DEFAULT:
            return ""
        if not self.question:
            return self.name
        words = re.sub(r"\W+", "-", self.question.casefold()).strip("-")[:_SLUG_CHARS].rstrip("-")
        return f"{self.name}/{words}-{hashlib.sha256(self.question.encode()).hexdigest()[:8]}"

    def asking(self, question: str) -> Task:
        """Return the task with a question."""
        return dataclasses.replace(self, question=" ".join(question.split()))

    def _filled(self, name: str, **values: object) -> str:
        return Template(self.texts[name]).substitute(values).strip()
