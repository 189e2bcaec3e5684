"""What the name of a file says about it, and how it is shown."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

PICTURES: Final = frozenset({b".jpg", b".jpeg", b".png", b".webp"})
"""Extensions of pictures, in lower case; a file may have them in upper case too."""

_EXTENSION: Final = re.compile(rb"\.[a-z][a-z0-9]{0,7}")  # "1.2.840.113" has none: each file would be of its own kind
_KINDS_SHOWN: Final = 6


def extension(name: bytes) -> bytes:
    """Return a name's extension in lower case, with its dot; b"" if it has none."""
    stem, dot, end = name.rpartition(b".")
    found = (dot + end).lower()
    return found if stem and _EXTENSION.fullmatch(found) else b""


def is_hidden(path: bytes) -> bool:
    """Whether a file, or a folder on the way to it, is hidden: its name begins with a dot."""
    return path.startswith(b".") or b"/." in path


def shown(name: bytes) -> str:
    r"""Return a name for people: no control character, no byte that is not UTF-8, but \x.. and \u.... for them."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


class PassedOver:
    """Counts files that are no pictures, by kind. As text: "12 .txt, 3 hidden"."""

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """How many."""
        return self._kinds.total()

    def add(self, name: bytes) -> None:
        """Count a file by its extension."""
        self.add_kind(extension(name).decode() or "without an extension")

    def add_kind(self, kind: str) -> None:
        """Count a file of a kind that is not its extension, such as "hidden"."""
        self._kinds[kind] += 1

    def __str__(self) -> str:
        kinds = sorted(self._kinds.items(), key=lambda item: (-item[1], item[0]))
        told = [f"{count} {kind}" for kind, count in kinds[:_KINDS_SHOWN]]
        rest = sum(count for _, count in kinds[_KINDS_SHOWN:])
        return ", ".join([*told, *([f"{rest} others"] if rest else [])])

    def notes(self) -> list[str]:
        """Return a sentence for people, or nothing if there is nothing to tell."""
        if not self.total:
            return []
        files = "1 file that is no picture was" if self.total == 1 else f"{self.total} files that are no pictures were"
        return [f"{files} passed over: {self}"]
