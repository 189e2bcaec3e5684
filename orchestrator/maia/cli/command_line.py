"""Commands that a message tells the user to run, as they can be pasted into a shell."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from maia.orchestrator.events import UnitName

_WHICH_UNITS = ("units", "unit_mode", "unit_file_path", "num_of_units", "total_chunks", "chunk_id")


def as_called() -> str:
    """How to call `maia` again: `make demo` leaves it in .venv/bin, where no shell looks."""
    if shutil.which("maia"):
        return "maia"
    if Path(sys.argv[0]).name == "maia":
        return shlex.quote(sys.argv[0])
    return f"{shlex.quote(sys.executable)} -m maia.cli"


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command with the flags that the user gave.

    Attributes:
        name: For example "run".
        flags: By parameter; None and False were not given.
        arguments: What stands without a flag, after these.
    """

    name: str
    flags: Mapping[str, object] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()

    def going_on(self) -> str:
        """Return the command that goes on where this one ended: the same, but without starting over."""
        return self._text({**self.flags, "fresh": False})

    def anew(self, units: Iterable[UnitName], **flags: object) -> str:
        """Return the command that investigates some units of the same subject anew.

        Args:
            units: Which.
            flags: What else to change.
        """
        apart = dict.fromkeys(_WHICH_UNITS)
        return self._text({**self.flags, **apart, "units": _listed(units), **flags, "fresh": True})

    def _text(self, flags: Mapping[str, object]) -> str:
        words = [self.name]
        for name, value in flags.items():
            if value is None or value is False:
                continue
            words.append(f"--{name.replace('_', '-')}")
            if value is not True:
                words.append(str(value))
        return f"{as_called()} {shlex.join([*words, *self.arguments])}"


def _listed(units: Iterable[UnitName]) -> str:
    """Write units as --units takes them."""
    layers: dict[str, list[int]] = {}
    for unit in units:
        layers.setdefault(unit.layer, []).append(unit.index)
    return ":".join(f"{layer}={','.join(map(str, indices))}" for layer, indices in layers.items())
