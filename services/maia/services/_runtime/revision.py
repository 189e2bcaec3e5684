"""A name for the exact code and data that an answer came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def revision_of(folders: Iterable[Path], *, patterns: tuple[str, ...] = ("*.py", "*.json")) -> str:
    """Return 12 hexadecimal digits that change whenever a file of these folders changes.

    Broader than need be, since a comment changes it too; a stale cache would be worse than a rebuilt one.

    Args:
        folders: Packages, without their subpackages.
        patterns: Which files.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
            digest.update(f"{folder.name}/{path.name}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
