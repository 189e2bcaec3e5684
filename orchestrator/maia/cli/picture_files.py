"""Pictures of a person's own, as commands take them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maia.cli.errors import CommandError
from maia.orchestrator.conversation import Picture
from maia.wire.errors import InvalidRequestError
from maia.wire.limits import MAX_PICTURE_BYTES
from maia.wire.pictures import read_header


def read_picture(file: Path) -> Picture:
    """Read a picture file.

    Raises:
        CommandError: There is no such file, or it is no picture that can be measured.
    """
    try:
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise CommandError(f"{file} is no picture to measure: it is a device, a pipe or a socket, not a file")
        if file.stat().st_size > MAX_PICTURE_BYTES:
            raise CommandError(f"{file} is too large; at most {MAX_PICTURE_BYTES // 2**20} MiB are measured")
        data = file.read_bytes()
    except OSError as error:
        raise CommandError(f"the picture {file} cannot be read: {error.strerror}") from error
    with naming(file):
        header = read_header(data)
    return Picture(data, header.media_type, header.width, header.height)


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Say of a file what is said inside of "picture 0" of a request.

    Raises:
        CommandError: It is no picture that can be measured.
    """
    try:
        yield
    except InvalidRequestError as error:
        if not error.reason.startswith("PICTURE_"):
            raise
        why = error.message.partition(": ")[2] or error.message
        raise CommandError(f"{file} is no picture to measure: {why}") from error
