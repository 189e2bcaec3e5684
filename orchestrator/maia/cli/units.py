"""Which units a command speaks of: MAIA's way of naming them, and the ways to choose them.

    layer3=12,40:layer4=7    units 12 and 40 of layer3, unit 7 of layer4
    layer3=12-15,40          ranges include both ends
    layer3:12                one unit, as `maia measure --unit` takes it

A unit that is named twice is meant once; the order is that of first naming.
"""

from __future__ import annotations

import difflib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast, get_args

from maia.cli.errors import CommandError

UnitMode = Literal["manual", "from_file", "random"]

Chosen = dict[str, tuple[int, ...]]
"""Unit indices by layer; both in the order of first naming, without duplicates."""

_MOST: Final = 1_000_000
"""Most units in one list: a range such as 0-999999999 is a slip of the finger, not a wish."""

_NAMES_SHOWN: Final = 12
_NAME_CHARS: Final = 200  # comparing takes long with long ones
_EXAMPLE: Final = "for example layer3=12,40:layer4=7 or layer3=12-15"


def parse_units(text: str) -> Chosen:
    """Parse `layer=index,index:layer=first-last`.

    Raises:
        CommandError: The text is not of this form; the message shows the part that is wrong.
    """
    chosen: dict[str, list[int]] = {}
    for part in text.split(":"):
        layer, equals, indices = part.partition("=")
        layer = layer.strip()
        if not layer:
            raise CommandError(f"{text!r} names no layer in {part!r}; {_EXAMPLE}")
        if not equals or not indices.strip():
            raise CommandError(f"{part!r} names no unit of its layer; {_EXAMPLE}")
        into = chosen.setdefault(layer, [])
        for item in indices.split(","):
            into.extend(_indices(item.strip(), part))
            if len(into) > _MOST:
                raise CommandError(f"{part!r} means more than {_MOST} units; name fewer")
    return {layer: _once(indices) for layer, indices in chosen.items()}


def parse_layers(text: str) -> tuple[str, ...]:
    """Return the layers that a unit list names, with or without units: `layer3:layer4=7` means layer3 and layer4.

    Raises:
        CommandError: A part of the list is empty.
    """
    layers = [part.partition("=")[0].strip() for part in text.split(":")]
    if not all(layers):
        raise CommandError(f"{text!r} has an empty part; layers are separated by colons, for example layer3:layer4")
    return tuple(dict.fromkeys(layers))


def parse_unit(text: str) -> tuple[str, int]:
    """Parse one unit, `layer:index` or `layer=index`.

    Raises:
        CommandError: The text is not of this form.
    """
    layer, separator, index = text.rpartition("=" if "=" in text else ":")
    if not (separator and layer.strip() and _is_index(index.strip())):
        raise CommandError(f"{text!r} is no unit; write its layer and its index, for example layer3:12")
    return layer.strip(), int(index)


def read_units_file(path: Path, model: str) -> Chosen:
    """Read a unit file: a JSON object of index lists by layer, or a folder that holds one as `<model>.json`.

    Raises:
        CommandError: There is no such file, or it holds something else; the message says what was found.
    """
    try:
        file = _units_file(path, model)
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CommandError(f"the unit file {path} cannot be read: {error}") from error
    if not isinstance(value, dict) or not value:
        raise CommandError(f'the unit file {file} is no list of units by layer, such as {{"layer3": [12, 40]}}')
    for layer, indices in value.items():
        if not isinstance(indices, list) or not all(type(index) is int and index >= 0 for index in indices):
            raise CommandError(f"in the unit file {file}, {layer} is no list of unit indices such as [12, 40]")
    return {layer: _once(indices) for layer, indices in value.items()}


def _units_file(path: Path, model: str) -> Path:
    file = path / f"{model}.json" if path.is_dir() else path
    if not file.is_file():
        there = sorted(each.name for each in path.glob("*.json")) if path.is_dir() else []
        found = f"; {path} holds {', '.join(there)}" if there else ""
        raise CommandError(f"there is no unit file {file}{found}; give a JSON file, or a folder with {model}.json")
    return file


@dataclass(frozen=True, slots=True)
class Wish:
    """Which units somebody wants, as the flags say it; made by `Wish.of`, which checks what needs no server.

    Attributes:
        model: Name of the subject.
        mode: `manual`: those in `units`. `from_file`: those in `file`. `random`: `count` of every layer, drawn without
            replacement.
        units: A unit list; for the other two modes its layers say which layers are meant, all when it is None.
        file: As `read_units_file` takes it.
        count: How many units per layer.
    """

    model: str
    mode: UnitMode
    units: str | None = None
    file: Path | None = None
    count: int | None = None

    @classmethod
    def of(
        cls, model: str | None, mode: str | None, *, units: str | None, file: Path | None, count: int | None
    ) -> Wish:
        """Return a checked wish; a mode that was not given is the one that the other flags speak of.

        Raises:
            CommandError: A flag that the mode needs is missing or one that it does not take is there, or a list or file
                cannot be read.
        """
        if not model:
            raise CommandError("which subject? give --model, for example --model scenes-cnn or --model scene-neurons")
        wish = cls(model, _mode(mode, file=file, count=count), units, file, count)
        wish.check_flags()
        if units is not None:
            parse_units(units) if wish.mode == "manual" else parse_layers(units)
        if file is not None:
            read_units_file(file, model)
        return wish

    def check_flags(self) -> None:
        """Refuse flags that the mode lacks or does not take."""
        needs = {
            "manual": ("--units", self.units),
            "from_file": ("--unit-file-path", self.file),
            "random": ("--num-of-units", self.count),
        }
        flag, value = needs[self.mode]
        if value is None:
            example = f", {_EXAMPLE}" if self.mode == "manual" else ""
            raise CommandError(f"which units? --unit-mode {self.mode} needs {flag}{example}")
        for other, (flag, value) in needs.items():
            if other not in (self.mode, "manual") and value is not None:
                raise CommandError(f"{flag} goes with --unit-mode {other}, not with {self.mode}")
        if self.count is not None and self.count < 1:
            raise CommandError(f"--num-of-units is {self.count}; it must be at least 1")

    def choose(self, sizes: Mapping[str, int], seed: int) -> Chosen:
        """Choose units of the subject.

        Args:
            sizes: Its number of units by layer, shallow to deep.
            seed: The same seed draws the same units of a model and layer every time.

        Raises:
            CommandError: The subject has no such layer or unit; the message names what is valid.
        """
        if self.mode == "manual":
            chosen = parse_units(self.units or "")
            check_units(self.model, chosen, sizes)
            return chosen
        layers = parse_layers(self.units) if self.units is not None else tuple(sizes)
        for layer in layers:
            _check_layer(self.model, layer, sizes)
        if self.mode == "random":
            return {layer: _draw(self.model, layer, sizes[layer], self.count or 0, seed) for layer in layers}
        chosen = read_units_file(self.file or Path(), self.model)
        check_units(self.model, chosen, sizes)
        kept = {layer: indices for layer, indices in chosen.items() if indices and layer in layers}
        if not kept:
            raise CommandError(f"the unit file {self.file} names no unit of {', '.join(layers)}")
        return kept


def check_units(model: str, chosen: Mapping[str, Sequence[int]], sizes: Mapping[str, int]) -> None:
    """Refuse what a subject does not have.

    Raises:
        CommandError: A layer or an index; the message names those that are valid.
    """
    for layer, indices in chosen.items():
        _check_layer(model, layer, sizes)
        wrong = [index for index in indices if index >= sizes[layer]]
        if wrong:
            listed = ", ".join(str(index) for index in wrong[:5]) + (", …" if len(wrong) > 5 else "")
            raise CommandError(f"{model} {layer} has units 0 to {sizes[layer] - 1}, not {listed}")


def _mode(mode: str | None, *, file: Path | None, count: int | None) -> UnitMode:
    if mode is None:
        if file is not None:
            return "from_file"
        return "random" if count is not None else "manual"
    for valid in get_args(UnitMode):
        if mode.replace("-", "_") == valid:
            return cast("UnitMode", valid)
    raise CommandError(f"there is no --unit-mode {mode!r}; valid: {', '.join(get_args(UnitMode))}")


def _check_layer(model: str, layer: str, sizes: Mapping[str, int]) -> None:
    if layer not in sizes:
        raise CommandError(f"{model} has no layer {layer!r:.100}; {_valid(model, layer, list(sizes))}")


def _valid(model: str, layer: str, names: Sequence[str]) -> str:
    """Which layers there are: all, or of hundreds the nearest."""
    if len(names) <= _NAMES_SHOWN:
        return f"valid: {', '.join(names)}"
    near = difflib.get_close_matches(layer[:_NAME_CHARS], names, _NAMES_SHOWN)
    listed = f"perhaps {', '.join(near)}; " if near else ""
    return f"{listed}`maia subjects {model}` lists all {len(names)}"


def _draw(model: str, layer: str, size: int, count: int, seed: int) -> tuple[int, ...]:
    if count > size:
        raise CommandError(f"{model} {layer} has {size} units; --num-of-units {count} is more than that")
    # Layers draw apart, so that leaving one out does not change the units of another.
    return tuple(sorted(random.Random(f"{seed}/{model}/{layer}").sample(range(size), count)))  # noqa: S311  # no secret


def _indices(item: str, part: str) -> Iterable[int]:
    first, dash, last = (piece.strip() for piece in item.partition("-"))
    if not _is_index(first) or (dash and not _is_index(last)):
        raise CommandError(f"{item!r} in {part!r} is no unit index or range; {_EXAMPLE}")
    if not dash:
        return (int(first),)
    if int(last) < int(first):
        raise CommandError(f"the range {item} in {part!r} runs backwards; write {last}-{first}")
    if int(last) - int(first) >= _MOST:
        raise CommandError(f"the range {item} in {part!r} means more than {_MOST} units; name fewer")
    return range(int(first), int(last) + 1)


def _is_index(text: str) -> bool:
    # int() would also take "+3", "1_000" and digits of other scripts; and nobody has units beyond nine digits.
    return text.isascii() and text.isdecimal() and len(text) <= 9


def _once(indices: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(indices))


def named_units(model: str | None, texts: Sequence[str]) -> list[tuple[str, int]]:
    """Return the units of `maia measure --unit`, without duplicates.

    Raises:
        CommandError: No model or no unit is named, or one is not of the form layer:index.
    """
    if not model:
        raise CommandError("which subject? give --model, for example --model scenes-cnn or --model scene-neurons")
    if not texts:
        raise CommandError("which unit? give --unit, for example --unit layer3:12")
    return list(dict.fromkeys(parse_unit(text) for text in texts))
