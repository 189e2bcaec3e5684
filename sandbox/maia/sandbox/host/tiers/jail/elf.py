"""Reading from an object which libraries and which loader it needs: the DT_NEEDED and PT_INTERP entries of elf(5)."""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["loader", "needed"]

_PT_LOAD: Final = 1
_PT_DYNAMIC: Final = 2
_PT_INTERP: Final = 3
_DT_NEEDED: Final = 1
_DT_STRTAB: Final = 5
_64_BIT_LITTLE_ENDIAN: Final = b"\x7fELF\x02\x01"


def needed(file: Path) -> list[str]:
    """Names of the libraries that an object asks its loader for; none for what is no 64-bit little-endian object."""
    with file.open("rb") as opened:
        if opened.read(6) != _64_BIT_LITTLE_ENDIAN:
            return []
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _needed(data)
            except (struct.error, IndexError, ValueError, StopIteration):
                return []  # cut short or stripped beyond use: the loader would not take it either


def loader(program: Path) -> str | None:
    """Path of the loader that a program names; None for a static one, or what is no 64-bit little-endian object."""
    data = program.read_bytes()
    if not data.startswith(_64_BIT_LITTLE_ENDIAN):
        return None
    for kind, _, offset, _, _, length in _segments(data):
        if kind == _PT_INTERP:
            return data[offset : offset + length].rstrip(b"\0").decode()
    return None


def _segments(data: mmap.mmap | bytes) -> list[tuple[int, ...]]:
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    return [struct.unpack_from("<IIQQQQ", data, table + index * size) for index in range(count)]


def _needed(data: mmap.mmap) -> list[str]:
    segments = _segments(data)
    loaded = [(address, offset, length) for kind, _, offset, address, _, length in segments if kind == _PT_LOAD]
    dynamic = [(offset, length) for kind, _, offset, _, _, length in segments if kind == _PT_DYNAMIC]
    names: list[int] = []
    strings = 0
    for offset, length in dynamic:
        for tag, value in struct.iter_unpack("<QQ", data[offset : offset + length]):
            if tag == _DT_NEEDED:
                names.append(value)
            elif tag == _DT_STRTAB:
                strings = value
    if not names:
        return []
    base = next(strings - start + offset for start, offset, length in loaded if start <= strings < start + length)
    return [data[base + name : data.find(b"\0", base + name)].decode() for name in names]
