"""Reads the small text files that a user names: settings of a kind, never data."""

from __future__ import annotations

import errno
import stat
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 1 << 20


def read_small_text(path: Path) -> str:
    """Return a file's UTF-8 text.

    Raises:
        OSError: It cannot be read, is no regular file (a device may have no end), or is larger than `MOST_BYTES`;
            `strerror` says which.
        ValueError: It is no UTF-8.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # before it is opened: a pipe would wait for its writer
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise OSError(errno.EFBIG, "it is larger than 1 MiB", str(path))
    return data.decode("utf-8")
