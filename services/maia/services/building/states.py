"""The state of a part of a pass, on disk: what it goes on from after it was killed, and what is merged in the end."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maia.services.building.plan import Plan, Shard
from maia.services.exemplars.folders import is_abandoned, process_mark
from maia.wire.errors import InternalError, PreconditionError

__all__ = ["PARTS", "Skipped", "State", "folder_of", "storing"]

PARTS: Final = (
    *("activations", "slots", "frames", "maps", "sampled", "sample_frames"),
    *("sums", "counted", "counts"),
)
"""Of a layer: what `LayerTally.state` returns."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A picture that was left out.

    Attributes:
        slot: Its place in the dataset.
        title: What people call it.
        why: In words.
        passing: Whether it may be readable another time: the disk failed, or this user had no right to.
    """

    slot: int
    title: str
    why: str
    passing: bool = False


@dataclass(slots=True)
class State:
    """How far a part is.

    Attributes:
        plan: Of the pass.
        shard: Which part.
        next_batch: The first batch that is not in it.
        skipped: So far.
        layers: What `LayerTally.state` returned, by layer.
    """

    plan: Plan
    shard: Shard
    next_batch: int
    skipped: list[Skipped] = field(default_factory=list)
    layers: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the part is over."""
        return self.next_batch >= self.shard.batches(self.plan).stop

    def save(self, folder: Path) -> None:
        """Write it in place of what was there; a kill or a full disk leaves the one or the other, whole.

        Raises:
            PreconditionError: STORE_UNWRITABLE.
        """
        path = folder / self.shard.file_name
        part = folder / f"{path.stem}.{process_mark()}.part"
        told = {
            "plan": self.plan.model_dump(),
            "shard": [self.shard.index, self.shard.count],
            "next_batch": self.next_batch,
            "skipped": [list(astuple(one)) for one in self.skipped],
        }
        arrays = {f"{name}/{part}": array for name, layer in self.layers.items() for part, array in layer.items()}
        header = np.frombuffer(json.dumps(told).encode(), np.uint8)
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for other in folder.glob(f"{path.stem}.*.part"):
                if is_abandoned(other.name.removeprefix(f"{path.stem}.").removesuffix(".part")):
                    other.unlink(missing_ok=True)
            try:
                with part.open("wb") as file:
                    np.savez(file, allow_pickle=False, header=header, **arrays)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            finally:
                with suppress(OSError):
                    part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, *, header: bool = False) -> State | None:
        """Return what was saved; None if there is nothing.

        Args:
            path: Of the file.
            header: Leave `layers` out, which are large.

        Raises:
            InternalError: STATE_DAMAGED.
        """
        try:
            # NumPy leaves a file open that is no archive, if it has opened it itself.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                told = json.loads(saved["header"].tobytes())
                layers: dict[str, dict[str, NDArray[Any]]] = {}
                for key in saved.files:
                    if key != "header" and not header:
                        name, _, part = key.rpartition("/")
                        layers.setdefault(name, {})[part] = saved[key]
            plan = Plan.model_validate(told["plan"])
            whole = {layer.name: set(PARTS) for layer in plan.layers}
            if not header and {name: set(parts) for name, parts in layers.items()} != whole:
                raise ValueError("a layer is missing")
            return cls(
                plan,
                Shard(*told["shard"]),
                told["next_batch"],
                [Skipped(*one) for one in told["skipped"]],
                layers,
            )
        except FileNotFoundError:
            return None
        except (
            *(OSError, ValueError, KeyError, TypeError, EOFError),
            *(RuntimeError, zipfile.BadZipFile, zlib.error),  # what zipfile raises of an archive that is not whole
        ) as error:
            raise InternalError(
                f"{path} is damaged ({type(error).__name__}); remove it, and that part of the pass begins anew",
                reason="STATE_DAMAGED",
                metadata={"path": str(path)},
            ) from error


def folder_of(store: Path, plan: Plan) -> Path:
    """Return where the states of a pass are."""
    return store / "passes" / plan.key


@contextmanager
def storing(store: Path) -> Iterator[None]:
    """Say what to do when something cannot be written.

    Raises:
        PreconditionError: STORE_UNWRITABLE.
    """
    try:
        yield
    except OSError as error:
        # NumPy raises one without a number when the disk is full.
        why = error.strerror or "the disk may be full"
        raise PreconditionError(
            f"nothing can be written in {store}: {why}; make room there or choose another folder. What was done so far "
            "is kept, and the same command goes on from there",
            reason="STORE_UNWRITABLE",
            metadata={"store": str(store)},
        ) from error
