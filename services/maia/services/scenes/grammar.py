"""Prompt → specification. Natural phrasing in, and a warning for every word that cannot be drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from maia.services.scenes.phrases import read_phrases
from maia.services.scenes.scene import THING_COLOURS
from maia.services.scenes.specification import MAX_DRAWN, Specification, Wanted, WantedBackground, WantedRelation
from maia.services.scenes.words import scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maia.services.scenes.phrases import Noun
    from maia.services.scenes.scene import Colour

_MAX_NAMED: Final = 20  # ignored phrases that one warning names
_MAX_PHRASE_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class ParsedPrompt:
    """What was understood.

    Attributes:
        specification: What to draw.
        warnings: Sentences about what was not; together they name every ignored word, up to a bound.
    """

    specification: Specification
    warnings: tuple[str, ...]


def parse(prompt: str) -> ParsedPrompt:
    """Read a prompt.

    Args:
        prompt: Any text. One in which nothing is understood asks for a plain background, with a warning.
    """
    phrases = read_phrases(scan(prompt))
    warnings = list(ignored_warning(phrases.ignored))
    groups, members = _groups(phrases.things, warnings)
    relations = tuple(
        WantedRelation(one, relation, two)
        for subject, relation, other in phrases.relations
        for one in members[id(subject)]
        for two in members[id(other)]
        if one != two
    )
    background = wanted_background(phrases.background, warnings)
    if not groups and background == WantedBackground():
        warnings.append("nothing that can be drawn was understood; drew a plain background")
    return ParsedPrompt(Specification(groups, relations, background), tuple(dict.fromkeys(warnings)))


def ignored_warning(ignored: Sequence[str]) -> tuple[str, ...]:
    """Return the warning about phrases that mean nothing here: one sentence, or none if there are none."""
    if not ignored:
        return ()
    named = [phrase[:_MAX_PHRASE_CHARS] for phrase in dict.fromkeys(ignored)]
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    return (f"cannot draw: {', '.join(named[:_MAX_NAMED])}{more}",)


def wanted_things(noun: Noun, warnings: list[str]) -> list[Wanted]:
    """Return what a noun asks for: one group, or with several colours ("red and blue circles") one for each of them.

    Args:
        noun: As it was read.
        warnings: Receives what cannot be had.
    """
    colours: list[Colour] = []
    for colour in dict.fromkeys(noun.colours):
        if colour in THING_COLOURS:
            colours.append(colour)
        else:
            warnings.append(f"only a background can be {colour}; drew another colour")
    if len(colours) > 1 and not noun.plural:
        warnings.append(f"one thing has one colour; drew it {colours[0]}")
        colours = colours[:1]
    if noun.count == 0:
        return []
    count = noun.count if noun.count is not None or noun.plural else 1
    if len(colours) <= 1:
        return [_wanted(noun, next(iter(colours), None), count)]
    if count is None or count < len(colours):
        return [_wanted(noun, colour, 1) for colour in colours]
    shares = [(count + index) // len(colours) for index in reversed(range(len(colours)))]
    return [_wanted(noun, colour, share) for colour, share in zip(colours, shares, strict=True)]


def wanted_background(noun: Noun, warnings: list[str]) -> WantedBackground:
    """Return what was said about the background; `warnings` receives what cannot be had."""
    colours = list(dict.fromkeys(noun.colours))
    if len(colours) > 1:
        warnings.append(f"a background has one colour; drew it {colours[0]}")
    return WantedBackground(next(iter(colours), None), noun.texture)


def _wanted(noun: Noun, colour: Colour | None, count: int | None) -> Wanted:
    return Wanted(noun.shape, colour, noun.texture, noun.size, noun.place, count)


def _groups(things: Sequence[Noun], warnings: list[str]) -> tuple[tuple[Wanted, ...], dict[int, list[int]]]:
    """Return the groups to draw, and under the id of each noun the indices of its groups."""
    groups: list[Wanted] = []
    members: dict[int, list[int]] = {id(noun): [] for noun in things}
    room = MAX_DRAWN
    for noun in things:
        for wanted in wanted_things(noun, warnings):
            needed = 2 if wanted.count is None else wanted.count
            if needed > room:
                warnings.append(f"drew only {MAX_DRAWN} things")
            if room > 0:
                members[id(noun)].append(len(groups))
                groups.append(replace(wanted, count=room) if needed > room else wanted)
            room -= min(room, needed)
    return tuple(groups), members
