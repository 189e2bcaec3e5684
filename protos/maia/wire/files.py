"""Files that belong together, put in place all or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from maia.wire.errors import PreconditionError


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may look into, if it is not there.

    Raises:
        PreconditionError: FILE_UNWRITABLE.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_together(files: Mapping[Path, tuple[bytes, int]]) -> None:
    """Write files beside their places, and move them there when all are on the disk.

    What root replaces stays its owner's, who would not be able to read it otherwise.

    Args:
        files: What each holds, and its mode, which it has from the beginning.

    Raises:
        PreconditionError: FILE_UNWRITABLE: the disk is full, for example; all are as they were.
    """
    fresh: dict[Path, Path] = {}
    file = Path()
    try:
        for file, (data, mode) in files.items():
            descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
            fresh[file] = Path(name)
            with os.fdopen(descriptor, "wb") as out:
                os.fchmod(out.fileno(), mode)
                if os.geteuid() == 0 and file.exists():
                    before = file.lstat()
                    os.fchown(out.fileno(), before.st_uid, before.st_gid)
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
        for file, made in fresh.items():
            made.replace(file)
    except OSError as error:
        raise _unwritable(file, error) from error
    finally:
        for made in fresh.values():
            made.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> PreconditionError:
    return PreconditionError(
        f"{path} cannot be written: {error.strerror}; it and what belongs to it stay as they were",
        reason="FILE_UNWRITABLE",
        metadata={"file": str(path)},
    )
