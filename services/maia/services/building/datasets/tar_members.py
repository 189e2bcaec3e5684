"""What lies where in a tar archive."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

_BLOCK: Final = tarfile.BLOCKSIZE
_COMPRESSED: Final = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"\x04\x22\x4d\x18": ("lz4", "unlz4"),
}


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive that is no folder.

    Attributes:
        name: As stored, without "./" before it.
        offset: Of its first byte in the archive, if it is a file.
        size: In bytes, if it is a file.
        is_file: Whether its bytes lie in the archive as they are: no link, no file with holes.
    """

    name: bytes
    offset: int
    size: int
    is_file: bool


class Damage(Exception):  # noqa: N818  # what is left of an archive is no error, its reader decides
    """The rest of an archive cannot be read.

    Args:
        position: Byte at which it begins; all members before it are whole.
        why: A clause.
    """

    def __init__(self, position: int, why: str) -> None:
        super().__init__(why)
        self.position = position
        self.why = why


def compression(file: BinaryIO) -> tuple[str, str] | None:
    """Return the name of a file's compression and the program that takes it off; None if it has none."""
    file.seek(0)
    head = file.read(8)
    return next((known for magic, known in _COMPRESSED.items() if head.startswith(magic)), None)


def members(file: BinaryIO, end: int) -> Iterator[Member]:
    """Yield the members of an archive that is not compressed, one by one, in its order.

    Args:
        file: The archive; its position moves.
        end: Its size in bytes.

    Raises:
        Damage: The archive is cut off or garbled from here on.
        OSError: It cannot be read.
    """
    file.seek(0)
    after = 0
    try:
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
            listed: list[tarfile.TarInfo] = vars(archive)["members"]
            while (info := archive.next()) is not None:
                listed.clear()  # the library keeps them all: a kilobyte each
                if archive.offset <= after or info.size < 0:
                    raise Damage(after, "a header there is garbled")
                if info.isreg() and not info.issparse() and info.offset_data + info.size > end:
                    raise Damage(after, "it ends in the middle of a file")
                after = archive.offset
                if not info.isdir():
                    yield Member(
                        info.name.encode("utf-8", "surrogateescape").removeprefix(b"./"),
                        info.offset_data,
                        info.size,
                        info.isreg() and not info.issparse(),
                    )
    except (tarfile.TarError, ValueError, OverflowError, MemoryError) as error:
        raise Damage(after, "a header there is garbled or cut off") from error
    # The library takes a header that it cannot read for the end of the archive; the true end is a block of zeros.
    file.seek(after)
    block = file.read(_BLOCK)
    if not block:
        raise Damage(after, "it ends there without the mark that ends an archive")
    if block.strip(b"\0") or len(block) < _BLOCK:
        raise Damage(after, "a header there is garbled or cut off")
