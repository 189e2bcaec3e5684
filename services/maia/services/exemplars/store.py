"""Exemplar sets on disk.

    <store>/sets/<subject>/<dataset and revisions>/
        manifest.json
        report.json             pictures that were skipped, and why
        pictures.bin            the pictures that some unit needs, each once, as they came, one after the other
        pictures.npy            int64 (pictures, 3): place in the dataset, ascending; offset; length
        frames.npy              float64 (pictures, 4): left, top, right, bottom
        titles.json             what people call them
        samples.npy             int64 (samples,): places in the dataset
        <n>/*.npy               of layer n of the manifest: what `LayerArrays` has

A request's names are only ever compared with those in manifests, never made into paths.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

from maia.services.exemplars.failures import exemplars_missing, reporting_damage
from maia.services.exemplars.folders import new_folder
from maia.services.exemplars.layer import ExemplarLayer
from maia.services.exemplars.model import FORMAT, Manifest
from maia.services.exemplars.set_writer import SetWriter
from maia.wire.errors import InternalError, MaiaError, PreconditionError

__all__ = ["ExemplarStore"]

_MANIFEST: Final = "manifest.json"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_CHARS: Final = 60


class ExemplarStore:
    """Reads and writes exemplar sets below one folder. Sets that are built while it is open are found."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def manifests(self, others: list[MaiaError] | None = None) -> list[Manifest]:
        """Return all sets, the newest of a subject first.

        Args:
            others: Is told of sets that another version has written and of damaged ones, which are left out.

        Raises:
            InternalError: EXEMPLARS_DAMAGED, without `others`.
        """
        return [manifest for _, manifest in self._sets(others=others)]

    def manifests_of(self, subject: str) -> list[Manifest]:
        """Return a subject's sets, the newest first; what is damaged elsewhere does not matter.

        Raises:
            InternalError: EXEMPLARS_DAMAGED.
        """
        return [manifest for _, manifest in self._sets(subject) if manifest.subject == subject]

    def find(self, subject: str, layer: str, revision: str = "", dataset: str = "") -> ExemplarLayer:
        """Return one layer of a subject's set; the newest, if there are several.

        Args:
            subject: Its name.
            layer: Its layer.
            revision: Of the subject; "" for any. A set whose revision nobody knows comes after those that agree.
            dataset: Its name; "" for any.

        Raises:
            NotFoundError: EXEMPLARS_MISSING, metadata "subject"; the message says how to build them.
            PreconditionError: STORE_FORMAT: the set was written by another version.
            InternalError: EXEMPLARS_DAMAGED.
        """
        others: list[MaiaError] = []
        sets = [found for found in self._sets(subject, others) if found[1].subject == subject]
        if not sets and others:
            raise others[0]
        if not sets:
            raise exemplars_missing(subject, f"there are no exemplars of {subject!r:.100} in {self._root}")
        of_dataset = [found for found in sets if dataset in {"", found[1].dataset}]
        if not of_dataset:
            stored = ", ".join(dict.fromkeys(manifest.dataset for _, manifest in sets))
            raise exemplars_missing(subject, f"there are exemplars of {subject} in {stored}, not in {dataset!r:.100}")
        exact = [found for found in of_dataset if revision in {"", found[1].subject_revision}]
        exact += [found for found in of_dataset if found not in exact and not found[1].subject_revision]
        if not exact:
            known = of_dataset[0][1].subject_revision
            raise exemplars_missing(
                subject, f"the exemplars of {subject} are of its revision {known}, not {revision:.100}"
            )
        for folder, manifest in exact:
            for number, stored_layer in enumerate(manifest.layers):
                if stored_layer.name == layer:
                    return ExemplarLayer(folder, manifest, number)
        layers = ", ".join(dict.fromkeys(layer.name for _, manifest in exact for layer in manifest.layers))
        raise exemplars_missing(subject, f"there are exemplars of {subject} for {layers}, not for layer {layer!r:.100}")

    def folder_of(self, manifest: Manifest) -> Path:
        """Return where a set is, or will be."""
        layers = hashlib.sha256(json.dumps([layer.model_dump() for layer in manifest.layers]).encode()).hexdigest()
        parts = [
            manifest.subject_revision or "imported",
            _safe(manifest.dataset),
            manifest.dataset_revision,
            f"{manifest.dataset_size}",
            f"top{manifest.top}",
            f"samples{manifest.sample_size}",
            layers[:8],
        ]
        return self._root / "sets" / _safe(manifest.subject) / "-".join(parts)

    def like(self, manifest: Manifest) -> Manifest | None:
        """Return what the stored set of the same pass says of itself, None if there is none.

        Args:
            manifest: Its `samples` do not count: how many could be read is known only afterwards.

        Raises:
            InternalError: EXEMPLARS_DAMAGED: its folder is there, but not what it should hold.
        """
        path = self.folder_of(manifest) / _MANIFEST
        if not path.parent.exists():
            return None
        with reporting_damage(path, path.parent, manifest.subject):
            stored = _manifest(path, path.stat().st_mtime_ns)
            if stored.model_copy(update={"samples": manifest.samples}) != manifest:
                raise ValueError("of another pass")
            return stored

    @contextmanager
    def writing(self, manifest: Manifest) -> Iterator[SetWriter]:
        """Write a set; it appears whole when the block ends without an error, or not at all."""
        with new_folder(self.folder_of(manifest)) as building:
            yield SetWriter(building)
            (building / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def _sets(self, subject: str | None = None, others: list[MaiaError] | None = None) -> list[tuple[Path, Manifest]]:
        """All sets, or those in one subject's folder: what is damaged elsewhere is none of its business.

        Args:
            subject: Its name; None for all.
            others: Is told of sets that are left out: those that another version has written and, of all subjects,
                damaged ones.
        """
        within = "*" if subject is None else _safe(subject)
        paths = (self._root / "sets").glob(f"{within}/[!.]*/{_MANIFEST}")
        dated = sorted(((path.stat().st_mtime_ns, path) for path in paths), reverse=True)
        sets = []
        for changed, path in dated:
            try:
                sets.append((path.parent, _manifest(path, changed)))
            except PreconditionError as error:
                if others is not None:
                    others.append(error)
            except InternalError as error:
                if others is None or subject is not None:
                    raise
                others.append(error)
        return sets


@lru_cache(maxsize=512)
def _manifest(path: Path, _changed: int) -> Manifest:
    with reporting_damage(path, path.parent):
        told = json.loads(path.read_bytes())
        written = told.get("format") if isinstance(told, dict) else None
        if isinstance(written, int) and written != FORMAT:
            advice = "install that version" if written > FORMAT else f"remove {path.parent} and build them again"
            raise PreconditionError(
                f"the exemplars in {path.parent} are of format {written}, and this version reads {FORMAT}: {advice}",
                reason="STORE_FORMAT",
                metadata={"path": str(path.parent), "format": str(written)},
            )
        return Manifest.model_validate(told)


def _safe(name: str) -> str:
    """A folder's name, for people to recognise and never the same for two names."""
    plain = _UNSAFE.sub("_", name).strip("._")[:_NAME_CHARS]
    return name if name and plain == name else f"{plain}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"
