"""MAIA's published exemplar sets: downloaded, unpacked, imported."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from maia.services.exemplars.folders import new_folder
from maia.services.exemplars.model import Manifest
from maia.services.exemplars.store import ExemplarStore
from maia.services.interchange.downloading import Patience, download
from maia.services.interchange.failures import reading, setting_invalid, shown, writing
from maia.services.interchange.importing import ImportChoice, Imported, import_sets
from maia.services.interchange.progress import OnStep, Step, unheard
from maia.services.interchange.unpacking import unpack
from maia.wire.errors import PreconditionError

__all__ = ["BASE_URL", "PUBLISHED", "Fetched", "Source", "fetch"]

BASE_URL: Final = "http://data.csail.mit.edu/maia-exemplars/"
PUBLISHED: Final = ("resnet152", "clip-RN50", "dino", "synthetic_neurons")

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PIECE: Final = 1 << 20
_LEVELS: Final = 8
"""Folders in a zip above its layers, at most: whoever packed it may have packed some that mean nothing."""


@dataclass(frozen=True, slots=True)
class Source:
    """A zip of exemplar files on a server.

    Attributes:
        name: Without ".zip".
        base_url: Of the folder that it is in.
        sha256: What its checksum must be, 64 hexadecimal digits; "" for anything.

    Raises:
        InvalidRequestError: SETTING_INVALID.
    """

    name: str
    base_url: str = BASE_URL
    sha256: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise setting_invalid(
                f"{shown(self.name)!r:.100} is no name of a zip file; published are {', '.join(PUBLISHED)}"
            )
        if self.sha256 and not _SHA256.fullmatch(self.sha256):
            raise setting_invalid(f"{shown(self.sha256)!r:.100} is no SHA-256: give 64 digits from 0 to 9 and a to f")
        try:
            parts = urlsplit(self.base_url)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and self.base_url.isprintable()
        except ValueError:
            usable = False
        if not usable or " " in self.base_url:
            raise setting_invalid(f"{shown(self.base_url)!r:.200} is no address that begins with http:// or https://")

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.base_url.rstrip('/')}/{self.name}.zip"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of a zip.

    Attributes:
        url: Where it came from.
        sha256: Its checksum.
        downloaded: Whether it was; otherwise it had been before.
        sets: What was imported.
    """

    url: str
    sha256: str
    downloaded: bool
    sets: tuple[Imported, ...]


def fetch(
    source: Source,
    store: ExemplarStore,
    choice: ImportChoice | None = None,
    *,
    keep: bool = False,
    patience: Patience | None = None,
    on_step: OnStep = unheard,
) -> Fetched:
    """Download a zip to `<store>/downloads`, check, unpack and import it; what was downloaded is removed then.

    Whatever goes wrong, the next call goes on where this one was: a zip that is whole is not downloaded again, unless
    from another address, nor is one whose sets are in the store, as `<store>/downloads/NAME.json` tells.

    Args:
        source: The zip.
        store: Where its sets go.
        choice: What of them, see `import_sets`.
        keep: Whether the zip stays.
        patience: With the server.
        on_step: Is told "downloading NAME", "checking NAME", "unpacking NAME" and what `import_sets` tells.

    Raises:
        PreconditionError: CHECKSUM_WRONG, ARCHIVE_DAMAGED, ARCHIVE_UNSAFE, DISK_FULL, FOLDER_UNWRITABLE, or as
            `import_sets`.
        NotFoundError: DOWNLOAD_MISSING, or as `import_sets`.
        UnavailableError: DOWNLOAD_FAILED.
    """
    downloads = store.root / "downloads"
    archive = downloads / f"{source.name}.zip"
    with writing(downloads):
        downloads.mkdir(parents=True, exist_ok=True)
    record = _Record(downloads / f"{source.name}.json")
    earlier = record.read(source, store, choice or ImportChoice())
    if earlier is not None:
        return earlier
    origin = downloads / f"{source.name}.zip.url"
    with writing(downloads):
        if not (origin.is_file() and origin.read_text(encoding="utf-8") == source.url):
            archive.unlink(missing_ok=True)  # of another server
            origin.write_text(source.url, encoding="utf-8")
    downloaded = not archive.exists()
    if downloaded:
        download(source.url, archive, doing=f"downloading {source.name}", patience=patience, on_step=on_step)
    digest = _sha256(archive, f"checking {source.name}", on_step)
    if source.sha256 not in {"", digest}:
        raise PreconditionError(
            f"the SHA-256 of {shown(archive)} is {digest}, not {source.sha256}; remove it and fetch it again if the "
            "checksum is right",
            reason="CHECKSUM_WRONG",
            metadata={"sha256": digest, "expected": source.sha256},
        )
    unpacked = downloads / "unpacked" / source.name
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        with writing(downloads), new_folder(unpacked) as building:
            unpack(archive, building, doing=f"unpacking {source.name}", on_step=on_step)
        sets = import_sets(unpacked, store, choice, levels=_LEVELS, on_step=on_step)
    except PreconditionError as error:
        if error.reason == "ARCHIVE_DAMAGED":  # the next call downloads it again
            archive.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    with writing(downloads):
        record.write(source, digest, choice or ImportChoice(), sets)
        if not keep:
            archive.unlink()
            origin.unlink()
    return Fetched(source.url, digest, downloaded, tuple(sets))


@dataclass(frozen=True, slots=True)
class _Record:
    """What a zip has become, so that it need not be downloaded to find that its sets are in the store."""

    path: Path

    def write(self, source: Source, sha256: str, choice: ImportChoice, sets: Sequence[Imported]) -> None:
        told = {
            "url": source.url,
            "sha256": sha256,
            "choice": _plain(choice),
            "sets": [{"manifest": one.manifest.model_dump(), "pictures": one.pictures} for one in sets],
        }
        self.path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    def read(self, source: Source, store: ExemplarStore, choice: ImportChoice) -> Fetched | None:
        """Return what became of the same zip, taken in the same way; None if that is not all in the store."""
        try:
            told = json.loads(self.path.read_bytes())
            manifests = [Manifest.model_validate(one["manifest"]) for one in told["sets"]]
            pictures = [int(one["pictures"]) for one in told["sets"]]
            url, sha256, chosen = told["url"], str(told["sha256"]), told["choice"]
        except (OSError, ValueError, KeyError, TypeError):
            return None  # of no use: the zip tells
        same = url == source.url and source.sha256 in {"", sha256} and chosen == _plain(choice)
        if not same or any(store.like(one) is None for one in manifests):
            return None
        sets = (
            Imported(one, anew=False, pictures=count, notes=()) for one, count in zip(manifests, pictures, strict=True)
        )
        return Fetched(source.url, sha256, downloaded=False, sets=tuple(sets))


def _plain(choice: ImportChoice) -> dict[str, object]:
    """A choice as JSON would have it."""
    return {**dataclasses.asdict(choice), "layers": list(choice.layers)}


def _sha256(path: Path, doing: str, on_step: OnStep) -> str:
    digest = hashlib.sha256()
    done, total = 0, path.stat().st_size
    with reading(path), path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            done += len(piece)
            on_step(Step(doing, done, total, "bytes"))
    return digest.hexdigest()
