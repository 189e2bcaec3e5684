"""Reads tasks: a folder of this package, with a text a file, or one TOML file of a user's, with a text a field.

A folder has `task.toml`, with the fields `answer` and `units`, and for each of its texts a file, `system.md`, `task.md`
and so on. A task file has all of it as fields. A text that a task does not have is that of `shared/`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Final, get_args

from maia.orchestrator.answers import FORMS, Form
from maia.orchestrator.journal import IMAGES
from maia.orchestrator.tasks.task import PLACEHOLDERS, Task, Units
from maia.orchestrator.user_files import read_small_text
from maia.wire.errors import InvalidRequestError, NotFoundError, PreconditionError

SETTINGS: Final = "task.toml"
_OWN: Final = ("system", "task")
_FIELDS: Final = ("answer", "units", *PLACEHOLDERS)


def task_names() -> tuple[str, ...]:
    """Return the tasks of this package."""
    return tuple(sorted(entry.name for entry in _root().iterdir() if (entry / SETTINGS).is_file()))


def load_task(name: str, *, question: str = "") -> Task:
    """Read a task of this package.

    Args:
        name: Its folder's.
        question: A user's, for a task that takes one.

    Raises:
        NotFoundError: TASK_UNKNOWN: there is no such task; the message names those that exist.
        PreconditionError: TASK_NEEDS_QUESTION.
    """
    if name not in task_names():
        raise NotFoundError(
            f"there is no task {name!r}; valid: {', '.join(task_names())}; or give a --task-file of your own",
            reason="TASK_UNKNOWN",
            metadata={"task": name},
        )
    folder = _root() / name
    fields: dict[str, object] = dict(tomllib.loads((folder / SETTINGS).read_text(encoding="utf-8")))
    fields |= {text: (folder / f"{text}.md").read_text(encoding="utf-8") for text in PLACEHOLDERS if _has(folder, text)}
    return _with_question(_task(name, fields, f"the task {name}"), question)


def read_task_file(path: Path | str) -> Task:
    """Read a task of a user's.

    Raises:
        InvalidRequestError: TASK_FILE_INVALID: it cannot be read, is no TOML, or a field or placeholder is wrong.
        PreconditionError: TASK_NEEDS_QUESTION: it takes a question, which nobody asks here.
    """
    path = Path(path)
    if path.stem in task_names():
        raise _invalid(f"the task file {path} has the name of a task of MAIA's own; rename it")
    if path.stem == IMAGES or path.stem.startswith("."):
        raise _invalid(f"reports leave out folders named {path.stem}, as results of {path} would be; rename the file")
    try:
        fields = tomllib.loads(read_small_text(path))
    except OSError as error:
        raise _invalid(f"the task file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _invalid(f"the task file {path} is no TOML: {error}") from error
    return _with_question(_task(path.stem, fields, f"the task file {path}"), "")


def _task(name: str, fields: Mapping[str, object], where: str) -> Task:
    for field in fields:
        if field not in _FIELDS:
            raise _invalid(f"{where} has a field {field!r:.80}; valid: {', '.join(_FIELDS)}")
    form = _form(fields.get("answer"), where)
    texts = {text: _text(text, fields, form, where) for text in PLACEHOLDERS}
    for text, value in texts.items():
        _check_placeholders(text, value, where)
    if "tools" not in Template(texts["system"]).get_identifiers():
        raise _invalid(f"{where}: its text 'system' has no $tools, so that the agent would not know any; put it there")
    return Task(name, form, texts, _units(fields.get("units", "any"), where))


def _form(value: object, where: str) -> Form:
    found = next((form for form in FORMS if form == value), None)
    if found is None:
        said = "lacks the field 'answer'" if value is None else f"has answer = {value!r:.80}"
        raise _invalid(f"{where} {said}; valid: {', '.join(FORMS)}")
    return found


def _units(value: object, where: str) -> Units:
    valid: tuple[Units, ...] = get_args(Units)
    found = next((units for units in valid if units == value), None)
    if found is None:
        raise _invalid(f"{where} has units = {value!r:.80}; valid: {', '.join(valid)}")
    return found


def _text(text: str, fields: Mapping[str, object], form: Form, where: str) -> str:
    if text not in fields:
        if text in _OWN:
            raise _invalid(f"{where} lacks the field {text!r}; each task has {', '.join(('answer', *_OWN))}")
        shared = _root() / "shared"
        return (shared / "forms" / f"{form}.md" if text == "form" else shared / f"{text}.md").read_text("utf-8")
    value = fields[text]
    if not isinstance(value, str) or not value.strip():
        raise _invalid(f"{where}: its field {text!r} is no text, but {value!r:.80}")
    return value


def _check_placeholders(text: str, value: str, where: str) -> None:
    template, valid = Template(value), PLACEHOLDERS[text]
    if not template.is_valid():
        raise _invalid(f"{where}: in its text {text!r} a $ begins no placeholder; write $$ for a dollar sign")
    unknown = [name for name in template.get_identifiers() if name not in valid]
    if unknown:
        can = ", ".join(f"${name}" for name in valid) or "none here"
        raise _invalid(f"{where}: its text {text!r} has ${unknown[0]}; valid: {can}; write $$ for a dollar sign")


def _with_question(task: Task, question: str) -> Task:
    if task.asks_question and not question.strip():
        raise PreconditionError(
            f'the task {task.name} takes a question; ask it with `maia ask "…"`', reason="TASK_NEEDS_QUESTION"
        )
    return task.asking(question)


def _has(folder: Traversable, text: str) -> bool:
    return (folder / f"{text}.md").is_file()


def _root() -> Traversable:
    return resources.files("maia.orchestrator.tasks")


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason="TASK_FILE_INVALID")
