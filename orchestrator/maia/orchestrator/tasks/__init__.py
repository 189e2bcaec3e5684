"""What an agent is asked: one folder of text files per task.

Each folder holds `system.md`, `task.md`, `final.md`, and the reminders `no_code.md`, `empty_reply.md`, `cut_block.md`,
`format.md` and `unproven.md`. `$name` is replaced by the values that `Task.system_prompt` and `Task.task_prompt` name.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Final

from maia.wire.errors import NotFoundError

_REMINDERS: Final = ("final", "no_code", "empty_reply", "cut_block", "format", "unproven")


@dataclass(frozen=True, slots=True)
class Task:
    """The texts of one task."""

    name: str
    system: Template
    task: Template
    reminders: dict[str, str]

    def system_prompt(self, *, api: str, prompt_guide: str, instruction_guide: str) -> str:
        """Return the system prompt; the same for every unit that meets the same servers, so that vendors can cache it.

        Args:
            api: The tools as `maia.orchestrator.api_text` renders them.
            prompt_guide: How to write prompts, from the generation server.
            instruction_guide: How to write edit instructions, from the editing server.
        """
        return self.system.substitute(api=api, prompt_guide=prompt_guide, instruction_guide=instruction_guide).strip()

    def task_prompt(self, *, rounds: int) -> str:
        """Return the first message."""
        return self.task.substitute(rounds=rounds).strip()

    def reminder(self, name: str) -> str:
        """Return what to say to a reply that lacks something."""
        return self.reminders[name]


def load_task(name: str) -> Task:
    """Read a task by its folder's name.

    Raises:
        NotFoundError: There is no such task; the message names those that exist.
    """
    root = resources.files(__name__)
    valid = sorted(entry.name for entry in root.iterdir() if (entry / "task.md").is_file())
    if name not in valid:
        raise NotFoundError(
            f"there is no task {name!r}; valid: {', '.join(valid)}", reason="TASK_UNKNOWN", metadata={"task": name}
        )
    folder = root / name
    texts = {part: (folder / f"{part}.md").read_text(encoding="utf-8") for part in ("system", "task", *_REMINDERS)}
    return Task(
        name=name,
        system=Template(texts["system"]),
        task=Template(texts["task"]),
        reminders={part: texts[part].strip() for part in _REMINDERS},
    )
