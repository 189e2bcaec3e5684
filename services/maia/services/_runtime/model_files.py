"""Where a model's files are: a folder, or the hub and its cache on disk; and a name for exactly these files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from maia.services._runtime.gated import is_gated
from maia.wire.errors import PreconditionError

__all__ = ["Wanted", "files_revision", "local_folder", "model_missing", "reporting_missing"]

_WEIGHTS: Final = frozenset({".safetensors", ".gguf", ".bin", ".ckpt", ".pt"})


class Wanted(Protocol):
    """A model as an operator names it."""

    @property
    def model(self) -> str:
        """A folder, a folder below `model_dir`, or a name on the Hugging Face hub."""
        ...

    @property
    def model_dir(self) -> Path | None:
        """Folder with models by name: `<model_dir>/<owner>/<name>`."""
        ...

    @property
    def offline(self) -> bool:
        """Download nothing; use what is in folders and in the hub's cache."""
        ...


def local_folder(wanted: Wanted) -> Path | None:
    """Return the folder that holds the model, None if its name is one on the hub.

    Raises:
        PreconditionError: MODEL_UNNAMED.
    """
    if not wanted.model:
        raise PreconditionError(
            "no model is named; --model takes a folder or a name on the hub", reason="MODEL_UNNAMED"
        )
    folders = [Path(wanted.model), *([wanted.model_dir / wanted.model] if wanted.model_dir else [])]
    return next((folder for folder in folders if folder.is_dir()), None)


def files_revision(folder: Path, gguf: Path | None) -> str:
    """Return a name for these files: it changes with any name, size, time or setting among them.

    Weights are not read, which would take minutes; that a copy of them has another name costs a cache at most.
    """
    digest = hashlib.sha256()
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and ".cache" not in path.parts]
    for path in [*paths, *([gguf] if gguf else [])]:
        target = path.resolve()
        # The hub's cache names a file by its contents, and links to it from every revision that has it.
        kept = target.name if path.is_symlink() and target.parent.name == "blobs" else _told(target)
        digest.update(f"{path.relative_to(folder) if path != gguf else path.name}\0{kept}\0".encode())
    return digest.hexdigest()[:12]


@contextmanager
def reporting_missing(wanted: Wanted) -> Iterator[None]:
    """Turn what the hub and its libraries raise about missing files into one sentence that says what to do.

    Raises:
        PreconditionError: MODEL_MISSING.
    """
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except (OSError, ValueError, HTTPError, HfHubHTTPError, HFValidationError) as error:
        why, gated = _reason(error, local=local_folder(wanted) is not None)
        raise model_missing(wanted, why, gated=gated) from error


def model_missing(wanted: Wanted, why: str, *, gated: bool = False) -> PreconditionError:
    """Return MODEL_MISSING: a model's files are not here, and what to do.

    Args:
        wanted: The model.
        why: What the matter is.
        gated: Whether the hub gives it only to who has accepted its licence.
    """
    model = wanted.model
    begin = "on a machine with internet" if wanted.offline else "check the name, or"
    place = f"put it into {wanted.model_dir / model}" if wanted.model_dir else "name its folder by --model"
    licence = f"; accept its licence at https://huggingface.co/{model} and set HF_TOKEN"
    return PreconditionError(
        f"the model {model} is not here: {why}; {begin} run 'hf download {model} --local-dir FOLDER' and {place}"
        f"{licence if gated or is_gated(model) else ''}",
        reason="MODEL_MISSING",
        metadata={"model": model},
    )


def _reason(error: BaseException, *, local: bool) -> tuple[str, bool]:
    """Return what is the matter, and whether the model is gated; not in the hub's words, which may name who asked."""
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    causes = list(_causes(error))
    for kind, why in (
        (GatedRepoError, "the hub gives it only to who has accepted its licence"),
        (RepositoryNotFoundError, "the hub has no such model, or does not show it to everybody"),
        (LocalEntryNotFoundError, "it is not in the hub's cache on this machine, and was not downloaded"),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return why, kind is GatedRepoError
    told = f": {' '.join(str(error).split()):.300}" if local else ""
    return f"its files cannot be loaded ({type(error).__name__}{told})", False


def _told(path: Path) -> str:
    if path.suffix in _WEIGHTS:
        state = path.stat()
        return f"{state.st_size} {state.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
