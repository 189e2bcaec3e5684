"""Reading files by position, from many threads at once."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from maia.services.building.datasets.failures import dataset_changed, refuse_too_large


def path_in(folder: bytes, name: bytes) -> bytes:
    """Return the path of something in a folder."""
    return folder.removesuffix(b"/") + b"/" + name


def status(path: bytes) -> os.stat_result:
    """Return what a path leads to; raises OSError. `pathlib` takes no bytes, and a million objects of it take long."""
    return os.stat(path)  # noqa: PTH116


@contextmanager
def opened(path: bytes) -> Iterator[int]:
    """Yield the descriptor of a regular file, open for reading.

    Raises:
        OSError: It cannot be opened; EINVAL: it is a pipe, a device or a folder, which might never end.
    """
    descriptor = open_regular(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(path: bytes) -> int:
    """Return the descriptor of a regular file, open for reading; who calls this closes it.

    Raises:
        OSError: As `opened`.
    """
    # Without O_NONBLOCK, opening a pipe waits for somebody who writes into it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fsdecode(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_at(descriptor: int, start: int, length: int) -> bytes:
    """Return exactly `length` bytes from a position.

    Raises:
        OSError: EIO if the file ends before.
    """
    data = os.pread(descriptor, length, start)
    if len(data) == length:
        return data
    parts = [data]  # one call returns at most 2 GiB, and less from some file systems
    while (missing := length - sum(map(len, parts))) > 0:
        parts.append(os.pread(descriptor, missing, start + length - missing))
        if not parts[-1]:
            raise OSError(errno.EIO, f"the file ends {missing} bytes early")
    return b"".join(parts)


def read_whole(path: bytes, size: int) -> bytes:
    """Return a regular file's bytes.

    Args:
        path: Of the file.
        size: That it had when the dataset was opened.

    Raises:
        OSError: As `opened`.
        PreconditionError: DATASET_CHANGED: it has another size by now. PICTURE_TOO_LARGE, before anything is read.
    """
    with opened(path) as descriptor:
        if os.fstat(descriptor).st_size != size:
            raise dataset_changed(path)
        refuse_too_large(size)
        return read_at(descriptor, 0, size)


def read_parts(path: bytes, spans: Sequence[range]) -> Iterator[bytes]:
    """Yield parts of a file, one after the other.

    Raises:
        OSError: As `opened` and `read_at`.
    """
    with opened(path) as descriptor:
        for span in spans:
            yield read_at(descriptor, span.start, len(span))
