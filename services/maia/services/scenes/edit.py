"""Scene and instruction → the edited scene. What the instruction does not name stays exactly as it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from maia.services.scenes.compose import compose, disc_of, neutral_background, pocket_of
from maia.services.scenes.grammar import ignored_warning, wanted_things
from maia.services.scenes.instructions import Action, Command, read_instruction
from maia.services.scenes.layout import GAP, find_place
from maia.services.scenes.phrases import read_phrases
from maia.services.scenes.scene import (
    MAX_THINGS,
    MIN_RADIUS,
    RADII,
    THING_COLOURS,
    Colour,
    Relation,
    Scene,
    Shape,
    Size,
    Texture,
    Thing,
)
from maia.services.scenes.shapes import outline
from maia.services.scenes.specification import Specification, Wanted
from maia.services.scenes.words import SOFT_RELATIONS, Kind, Token, scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maia.services.scenes.layout import Disc
    from maia.services.scenes.phrases import Noun

_COMPARATIVES: Final = {"larger": 1, "bigger": 1, "smaller": -1}
_LEAST_RADIUS: Final = 0.035  # of something new; what is smaller cannot be told from its pixels
_PLACING_TRIES: Final = 12  # each with a smaller thing than the one before


def edit(scene: Scene, instruction: str, seed: int) -> tuple[Scene, tuple[str, ...]]:
    """Carry out an instruction.

    Args:
        scene: What is to be changed.
        instruction: Any text, for instance "replace the circle with a star and make the background striped".
        seed: Any integer; decides what the instruction leaves open, such as where something new stands.

    Returns:
        The new scene, and warnings about what could not be done; nothing understood leaves the scene as it is.
    """
    commands, strange = read_instruction(instruction)
    editor = _Editor(scene, seed)
    for command in commands:
        editor.carry_out(command)
    warnings = list(editor.warnings)
    if strange:
        warnings.append(f"did not understand: {'; '.join(clause[:60] for clause in strange[:8])}")
    elif not commands:
        warnings.append("the instruction is empty; nothing was changed")
    return editor.scene, tuple(dict.fromkeys(warnings))


@dataclass(slots=True)
class _Attributes:
    """What something shall become."""

    shape: Shape | None = None
    colour: Colour | None = None
    texture: Texture | None = None
    size: Size | None = None
    steps: int = 0  # towards larger sizes
    unknown: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, tokens: Sequence[Token]) -> _Attributes:
        found = cls()
        for index, token in enumerate(tokens):
            if _leads_away(tokens, index):  # "dots on the star" is no star
                found.unknown += [token.text for token in tokens[index:]]
                break
            if token.text in _COMPARATIVES:
                found.steps += _COMPARATIVES[token.text]
            elif isinstance(token.value, Shape):
                found.shape = token.value
            elif isinstance(token.value, Colour):
                found.colour = token.value
            elif isinstance(token.value, Texture):
                found.texture = token.value
            elif isinstance(token.value, Size):
                found.size = token.value
            elif token.kind is Kind.UNKNOWN or (isinstance(token.value, int) and token.value > 1):
                found.unknown.append(token.text)
        return found


@dataclass(frozen=True, slots=True)
class _Target:
    """What a command is about: the background, or things by their index; with `pattern`, only their texture."""

    background: bool = False
    things: tuple[int, ...] = ()
    pattern: bool = False


class _Editor:
    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.warnings: list[str] = []
        self._rng = np.random.Generator(np.random.PCG64(seed % 2**64))

    def carry_out(self, command: Command) -> None:
        tokens = scan(command.target)
        match command.action:
            case Action.ADD:
                self._add(tokens)
            case Action.REMOVE | Action.KEEP:
                self._remove(self._target(tokens), command.value)
            case Action.ENLARGE:
                self._change(self._target(tokens), _Attributes(steps=1))
            case Action.SHRINK:
                self._change(self._target(tokens), _Attributes(steps=-1))
            case Action.CHANGE:
                pairs = [(tokens, scan(command.value))] if command.value else _assignments(tokens)
                if not command.value and _only_background(tokens):
                    pairs = [(tokens, tokens)]  # "set a blue background"
                for target, value in pairs:
                    self._change(self._target(target), _Attributes.of(value))

    def _target(self, tokens: Sequence[Token]) -> _Target:
        """Return what the words refer to, with a warning if there is nothing of that kind."""
        words = " ".join(token.text for token in tokens)[:60]
        kinds = {token.kind for token in tokens}
        things = self.scene.things
        if Kind.BACKGROUND in kinds:
            return _Target(background=True)
        if Kind.TEXTURE_NOUN in kinds and kinds <= {Kind.TEXTURE_NOUN, Kind.ARTICLE, Kind.FILLER}:
            texture = next(token.value for token in tokens if token.kind is Kind.TEXTURE_NOUN)
            marked = tuple(index for index, thing in enumerate(things) if thing.texture is texture)
            background = not marked and self.scene.background.texture is texture
            target = _Target(background, marked, pattern=True)
        elif kinds <= {Kind.ARTICLE, Kind.FILLER}:  # "it", "all of them"
            target = _Target(things=tuple(range(len(things))))
        else:
            phrases = read_phrases(tokens)
            anchors = {id(other) for _, _, other in phrases.relations}
            nouns = [noun for noun in phrases.things if id(noun) not in anchors]
            found = {index for noun in nouns for index in _matching(things, noun)}
            target = _Target(things=tuple(sorted(found)))
        if not target.background and not target.things:
            self.warnings.append(f"there is nothing like this on the picture: {words or 'anything'}")
        return target

    def _remove(self, target: _Target, sparing: str) -> None:
        if sparing:
            spared = self._target(scan(sparing))
            if spared == _Target():
                return  # a warning has been given, and removing it all is not what was asked
            target = _Target(things=tuple(index for index in target.things if index not in spared.things))
        if target.pattern:
            self._change(target, _Attributes(texture=Texture.SOLID))
        elif target.background:
            self.scene = replace(self.scene, background=neutral_background(self._rng))
        else:
            kept = tuple(thing for index, thing in enumerate(self.scene.things) if index not in target.things)
            self.scene = replace(self.scene, things=kept)

    def _change(self, target: _Target, wanted: _Attributes) -> None:
        self.warnings += ignored_warning([" ".join(wanted.unknown)] if wanted.unknown else [])
        if wanted == _Attributes(unknown=wanted.unknown):
            self.warnings.append("it was not understood what to change it to")
        elif target.background:
            background = self.scene.background
            changed = replace(
                background, colour=wanted.colour or background.colour, texture=wanted.texture or background.texture
            )
            self.scene = replace(self.scene, background=changed)
        for index in target.things:
            self._change_thing(index, wanted)

    def _change_thing(self, index: int, wanted: _Attributes) -> None:
        old = self.scene.things[index]
        colour = wanted.colour
        if colour is not None and colour not in THING_COLOURS:
            self.warnings.append(f"only a background can be {colour}; left the colour as it is")
            colour = None
        new = replace(
            old,
            shape=wanted.shape or old.shape,
            colour=colour or old.colour,
            texture=wanted.texture or old.texture,
            radius=_wanted_radius(old, wanted),
        )
        if (new.shape, new.radius) != (old.shape, old.radius):
            room = max(_room(self.scene.things, index), disc_of(old).reach)
            fitting = max(MIN_RADIUS, min(new.radius, round(room / outline(new.shape).reach, 4)))
            if new.radius > old.radius and fitting < 0.5 * (new.radius + old.radius):
                self.warnings.append(f"there is little room to make the {old.shape} larger")
            new = replace(new, radius=fitting)
        things = list(self.scene.things)
        things[index] = new
        self.scene = replace(self.scene, things=tuple(things))

    def _add(self, tokens: Sequence[Token]) -> None:
        phrases = read_phrases(tokens)
        self.warnings += ignored_warning(phrases.ignored)
        if _only_background(tokens):
            self._change(_Target(background=True), _Attributes.of(tokens))
            return
        if not phrases.things:
            self.warnings.append("it was not understood what to add")
        before = self.scene.things
        anchors = {id(other): _matching(before, other) for _, _, other in phrases.relations}
        for relation, inner, outer in ((relation, one, two) for one, relation, two in phrases.relations):
            if relation is Relation.INSIDE and outer is phrases.things[0] and _matching(before, inner):
                anchors[id(inner)] = _matching(before, inner)
                self.warnings.append("nothing new can stand around what is there; added it beside")
        for noun in phrases.things:
            if noun is not phrases.things[0] and anchors.get(id(noun)):
                continue  # "next to the square", and there is one
            relations = [
                (relation, before[anchors[id(other)][0]])
                for subject, relation, other in phrases.relations
                if subject is noun and anchors[id(other)]
            ]
            for wanted in wanted_things(noun, self.warnings):
                count = wanted.count if wanted.count is not None else 2
                for _ in range(min(count, MAX_THINGS + 1)):
                    self._add_one(wanted, relations)

    def _add_one(self, wanted: Wanted, relations: Sequence[tuple[Relation, Thing]]) -> None:
        if len(self.scene.things) >= MAX_THINGS:
            self.warnings.append(f"a picture has at most {MAX_THINGS} things; nothing more was added")
            return
        alone = Specification((replace(wanted, count=1, place=None),))
        thing = compose(alone, int(self._rng.integers(2**63)))[0].things[0]
        container = next((other for relation, other in relations if relation is Relation.INSIDE), None)
        if container is not None:
            x, y, room = pocket_of(container)
            placed: Thing | None = replace(thing, x=round(x, 4), y=round(y, 4), radius=_fitting(thing, room))
        else:
            placed = self._beside(thing, wanted, [(relation, disc_of(other)) for relation, other in relations])
        if placed is None or placed.radius < _LEAST_RADIUS:
            where = (
                f"a {thing.shape} inside the {container.shape}" if container is not None else f"another {thing.shape}"
            )
            self.warnings.append(f"there is no room for {where}")
        else:
            self.scene = replace(self.scene, things=(*self.scene.things, placed))

    def _beside(self, thing: Thing, wanted: Wanted, related: Sequence[tuple[Relation, Disc]]) -> Thing | None:
        """Return the thing at a free place, smaller if need be."""
        taken = [disc_of(other) for other in self.scene.things]
        reach = disc_of(thing).reach
        for attempt in range(_PLACING_TRIES):
            aligned = attempt < _PLACING_TRIES // 2
            disc = find_place(reach, wanted.place, related, taken, self._rng, aligned=aligned)
            if disc is not None:
                return replace(thing, x=round(disc.x, 4), y=round(disc.y, 4), radius=_fitting(thing, disc.reach))
            reach *= 0.9
        return None


def _only_background(tokens: Sequence[Token]) -> bool:
    """Whether the words name the background with what it shall be, and no thing."""
    kinds = {token.kind for token in tokens}
    described = kinds & {Kind.COLOUR, Kind.TEXTURE, Kind.TEXTURE_NOUN}
    ended = bool(tokens) and tokens[-1].kind is Kind.BACKGROUND
    return ended and bool(described) and not kinds & {Kind.SHAPE, Kind.GENERIC, Kind.RELATION, Kind.LINK}


def _leads_away(tokens: Sequence[Token], index: int) -> bool:
    """Whether a token of what something becomes begins to speak of a place or of something else."""
    token = tokens[index]
    if token.kind in {Kind.PLACE, Kind.CONTAINING} or token.text in {"same", "like"}:
        return True
    following = tokens[index + 1].kind if index + 1 < len(tokens) else None
    if token.text in SOFT_RELATIONS or token.text == "as":
        return following not in {Kind.COLOUR, Kind.TEXTURE, Kind.SIZE}  # "in red"
    return token.kind is Kind.RELATION


def _assignments(tokens: Sequence[Token]) -> list[tuple[list[Token], list[Token]]]:
    """Split "the circle and the star red and the square blue" into pairs of what is meant and what it becomes."""
    parts: list[list[Token]] = [[]]
    for index, token in enumerate(tokens):
        separated = token.kind in {Kind.AND, Kind.COMMA}
        if separated and index + 1 < len(tokens) and tokens[index + 1].kind is Kind.ARTICLE:
            parts.append([])
        parts[-1].append(token)
    pairs = []
    waiting: list[Token] = []  # nouns whose new attributes follow behind a later noun
    for part in parts:
        target, value = _split_behind_noun(part)
        waiting += target
        if value:
            pairs.append((waiting, value))
            waiting = []
    return [*pairs, (waiting, [])] if waiting else pairs


def _split_behind_noun(tokens: Sequence[Token]) -> tuple[list[Token], list[Token]]:
    """Split "the red circle blue" into what is meant and what it becomes."""
    nouns = {Kind.SHAPE, Kind.GENERIC, Kind.BACKGROUND, Kind.TEXTURE_NOUN}
    for index, token in enumerate(tokens):
        pronoun = token.text in {"it", "them"} or (token.text == "one" and index > 0)
        followed = index + 1 < len(tokens) and tokens[index + 1].kind is Kind.GENERIC
        if (token.kind in nouns or pronoun) and not followed:
            end = index + 1
            while end < len(tokens) and tokens[end].kind is Kind.PLACE:  # "the circle on the left red"
                end += 1
            return list(tokens[:end]), list(tokens[end:])
    return list(tokens), []


def _matching(things: Sequence[Thing], noun: Noun) -> list[int]:
    """Return the indices of the things that a noun may mean: as many as it counts, or all."""
    found = [
        index
        for index, thing in enumerate(things)
        if noun.shape in {None, thing.shape}
        and (not noun.colours or thing.colour in noun.colours)
        and noun.texture in {None, thing.texture}
        and noun.size in {None, thing.size}
        and (noun.place is None or noun.place.holds(thing.x, thing.y))
    ]
    return found if noun.count is None else found[: noun.count]


def _wanted_radius(old: Thing, wanted: _Attributes) -> float:
    size = wanted.size
    if wanted.steps:
        sizes = list(Size)
        position = sizes.index(old.size) + (1 if wanted.steps > 0 else -1)
        size = sizes[min(max(position, 0), len(sizes) - 1)]
        if size is old.size:  # beyond the classes
            return old.radius * (1.25 if wanted.steps > 0 else 0.8)
    if size is None or size is old.size:
        return old.radius
    low, high = RADII[size]
    return round(0.5 * (low + high), 4)


def _room(things: Sequence[Thing], index: int) -> float:
    """Return how far a thing may reach before it touches the border or another that it does not touch now."""
    thing = things[index]
    own = disc_of(thing)
    room = min(own.x, own.y, 1.0 - own.x, 1.0 - own.y)
    for position, other in enumerate(things):
        if position == index:
            continue
        distance = float(np.hypot(other.x - thing.x, other.y - thing.y))
        if distance > max(own.reach, disc_of(other).reach):
            room = min(room, distance - disc_of(other).reach - GAP)
        elif other.radius > thing.radius:
            room = min(room, pocket_of(other)[2])
    return room


def _fitting(thing: Thing, reach: float) -> float:
    return max(MIN_RADIUS, round(reach / outline(thing.shape).reach, 4))
