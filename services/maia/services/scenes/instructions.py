"""Editing instruction → commands: which verb, what it is about, and what becomes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_INSTRUCTION_CHARS: Final = 2000


class Action(Enum):
    """What to do with the target."""

    ADD = auto()
    REMOVE = auto()
    CHANGE = auto()  # target becomes value: other attributes, another shape, another background
    ENLARGE = auto()
    SHRINK = auto()
    KEEP = auto()  # remove all but the target


@dataclass(frozen=True, slots=True)
class Command:
    """One thing to do.

    Attributes:
        action: The verb.
        target: The words for what it is about; for ADD, for what is new. Without `value`, a CHANGE names both in one
            ("the circle red").
        value: The words for what it becomes; for REMOVE, for what of the target is spared. May be empty.
    """

    action: Action
    target: str
    value: str = ""


_VERBS: Final[Mapping[Action, str]] = {
    Action.ADD: "add|insert|include|put|place|draw",
    Action.REMOVE: "remove|delete|erase|drop|take away|get rid of",
    Action.CHANGE: "replace|swap|exchange|substitute|change|turn|convert|transform|make|paint|recolou?r|colou?r|set",
    Action.ENLARGE: "enlarge|grow",
    Action.SHRINK: "shrink",
    Action.KEEP: "(?:keep|leave) (?:only|just)|(?:only|just) (?:keep|leave)|isolate",
}
_ANY_VERB: Final = "|".join(_VERBS.values())
_CLAUSES: Final = re.compile(rf"(?:[.;!?,\n]|\band\b|\bthen\b)[ ,]*(?=(?:(?:and|then|also|please) )*(?:{_ANY_VERB})\b)")
_CLAUSE: Final = re.compile(
    r"(?:(?:and|then|also|please) )*(?:"
    + "|".join(f"(?P<{action.name}>{verbs})" for action, verbs in _VERBS.items())
    + r")\b ?(?P<rest>.*)",
    re.DOTALL,
)
_PROPERTY: Final = re.compile(
    r"(?:the )?(?:colou?r|texture|pattern|shape|size)s? of (?P<of>.+?) (?:in)?to (?P<to>.+)"
    r"|(?P<whose>.+?)(?:'s)? (?:colou?r|texture|pattern|shape|size)s? (?:in)?to (?P<into>.+)",
    re.DOTALL,
)
_BECOMES: Final = re.compile(r"(?P<target>.+?) (?:with|by|for|into|to) (?P<value>.+)", re.DOTALL)
_MARKS: Final = "textures?|patterns?|stripes|(?:polka[ -]?)?dots|spots|checks|checkers"
_UNMARK: Final = re.compile(
    rf"(?:the |any |all |its )*(?:white )?(?:{_MARKS}) (?:of|from|on|in) (?P<of>.+)"
    rf"|(?P<whose>.+)'s (?:{_MARKS})"
    r"|(?:the |any |all |its |every )*(?:textures?|patterns?)",
    re.DOTALL,
)
_EXCEPT: Final = re.compile(
    r"(?P<all>.+?),? (?:except|but|other than|apart from|besides)(?: for)? (?P<spared>.+)", re.DOTALL
)
_NOT_NAMED: Final = re.compile(r"\b(?:else|others?|rest|remaining|colou?rs?)\b")
_UNCHANGED: Final = re.compile(
    r"(?:[,;.]| and| but| while)* ?\b(?:keep(?:ing)?|leav(?:e|ing)) (?:everything|all|the rest)(?: else)?"
    r"(?: (?:the same|unchanged|as (?:it )?is|as it was|intact|alone))?(?=[ .!]*$)"
)
_PATTERN_TO: Final = re.compile(r"(?P<value>(?:\w+ )*(?:stripes|dots|spots|checks)) to (?P<target>.+)", re.DOTALL)


def read_instruction(instruction: str) -> tuple[tuple[Command, ...], tuple[str, ...]]:
    """Return the commands of an instruction, and the clauses of it that are none. Raises nothing.

    What exceeds MAX_INSTRUCTION_CHARS counts as not understood.
    """
    text = _UNCHANGED.sub("", " ".join(instruction[:MAX_INSTRUCTION_CHARS].lower().split()))
    commands: list[Command] = []
    strange: list[str] = []
    kept = False
    for clause in _CLAUSES.split(text):
        stripped = clause.strip(" .,;!?")
        found = _CLAUSE.fullmatch(stripped)
        if found is not None:
            action = next(action for action in Action if found[action.name] is not None)
            command = _command(action, found["rest"])
            if command is not None:
                commands.append(command)
            elif not kept:  # "keep only the star and remove everything else" says the same twice
                strange.append(stripped)
            kept = action is Action.KEEP
        elif stripped:
            strange.append(stripped)
    if len(instruction) > MAX_INSTRUCTION_CHARS:
        strange.append(f"everything after the first {MAX_INSTRUCTION_CHARS} characters")
    return tuple(commands), tuple(strange)


def _command(action: Action, rest: str) -> Command | None:
    if action is Action.CHANGE:
        return _change(rest)
    if action is Action.REMOVE:
        return _removal(rest)
    if action is Action.KEEP:
        return Command(Action.REMOVE, "everything", rest)
    if action is Action.ADD and (found := _PATTERN_TO.fullmatch(rest)):  # "add stripes to the background"
        return Command(Action.CHANGE, found["target"], found["value"])
    return Command(action, rest)


def _removal(rest: str) -> Command | None:
    """Return what removes things, or only their pattern; None if the words do not name it."""
    if found := _UNMARK.fullmatch(rest):  # "the stripes of the circle", "the texture"
        return Command(Action.CHANGE, found["of"] or found["whose"] or "everything", "solid")
    if found := _EXCEPT.fullmatch(rest):
        return Command(Action.REMOVE, found["all"], found["spared"])
    return None if _NOT_NAMED.search(rest) else Command(Action.REMOVE, rest)


def _change(rest: str) -> Command:
    found = _PROPERTY.fullmatch(rest)
    if found is not None:
        return Command(Action.CHANGE, found["of"] or found["whose"], found["to"] or found["into"])
    found = _BECOMES.fullmatch(rest)
    if found is not None:
        return Command(Action.CHANGE, found["target"], found["value"])
    return Command(Action.CHANGE, rest)
