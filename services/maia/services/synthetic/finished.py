"""What came of each unit, on disk until all are done: a run that was killed goes on with the next unit."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from maia.services.exemplars.folders import process_mark
from maia.services.subject.backends.photograph_neurons.table import Rule
from maia.services.synthetic.ranking import Ranked
from maia.wire.errors import PreconditionError


@dataclass(frozen=True, slots=True)
class FinishedUnits:
    """Results by everything that they come from; of labels only digests are in the names of files.

    Attributes:
        folder: Where they are.
        revision: Of detector, pictures and size.
    """

    folder: Path
    revision: str

    def key(self, rule: Rule, slots: Sequence[int]) -> str:
        """Return the name of a unit's result.

        Args:
            rule: Of the unit.
            slots: The pictures that come into question.
        """
        places = hashlib.sha256(np.asarray(slots, np.int64).tobytes()).hexdigest()
        told = json.dumps([self.revision, rule.mode, rule.concepts, places])
        return hashlib.sha256(told.encode()).hexdigest()[:24]

    def get(self, key: str) -> Ranked | None:
        """Return a result, None if there is none or it is damaged."""
        try:
            # NumPy would leave a file open that it finds damaged.
            with self._path(key).open("rb") as file, np.load(file, allow_pickle=False) as saved:
                arrays = {field.name: saved[field.name] for field in fields(Ranked)}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return Ranked(**{**arrays, "unreadable": int(arrays["unreadable"])})

    def kept(self, key: str) -> Ranked:
        """Return a result that was put.

        Raises:
            PreconditionError: OUT_CHANGED: somebody has removed it.
        """
        ranked = self.get(key)
        if ranked is None:
            raise PreconditionError(
                f"{self.folder} was changed while it was in use; run the same command again", reason="OUT_CHANGED"
            )
        return ranked

    def put(self, key: str, ranked: Ranked) -> None:
        """Keep a result; a kill or a full disk leaves it whole or not at all. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{key}.{process_mark()}.part"
        try:
            with part.open("wb") as file:
                arrays = {field.name: getattr(ranked, field.name) for field in fields(Ranked)}
                np.savez(file, allow_pickle=False, **arrays)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path(key))
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def remove(self) -> None:
        """Forget all results, also those of other labels and pictures."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"
