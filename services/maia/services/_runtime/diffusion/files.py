"""Where a model's files are: a folder, or the hub and its cache on disk; and a name for exactly these files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from maia.services._runtime.diffusion.options import DiffusionOptions
from maia.wire.errors import PreconditionError

INDEX: Final = "model_index.json"
_GATED: Final = re.compile(r"FLUX\.1|stable-diffusion-3", re.IGNORECASE)
"""Families whose files the hub gives only to who has accepted their licence."""
_WEIGHTS: Final = frozenset({".safetensors", ".gguf", ".bin", ".ckpt", ".pt"})


def pipeline_class(options: DiffusionOptions) -> str:
    """Return the name of the model's class in diffusers; of a model on the hub, only the index is fetched.

    Raises:
        PreconditionError: MODEL_MISSING or PIPELINE_UNKNOWN.
    """
    folder = local_folder(options)
    path = folder / INDEX if folder else _fetched_index(options)
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["_class_name"]
    except FileNotFoundError:
        raise _missing(options, f"{folder} has no {INDEX}, so it is no folder of a pipeline") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _missing(options, f"its {INDEX} cannot be read ({type(error).__name__})") from None
    if not isinstance(name, str):  # a class in a file of the model's own, which we would have to run
        raise PreconditionError(
            f"the model {options.model} brings code of its own, which is not run; choose another",
            reason="PIPELINE_UNKNOWN",
            metadata={"model": options.model},
        )
    return name


def local_folder(options: DiffusionOptions) -> Path | None:
    """Return the folder that holds the model, None if its name is one on the hub.

    Raises:
        PreconditionError: MODEL_UNNAMED.
    """
    if not options.model:
        raise PreconditionError(
            "no model is named; --model takes a folder or a name on the hub", reason="MODEL_UNNAMED"
        )
    folders = [Path(options.model), *([options.model_dir / options.model] if options.model_dir else [])]
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
def reporting_missing(options: DiffusionOptions) -> Iterator[None]:
    """Turn what the hub and diffusers raise about missing files into one sentence that says what to do.

    Raises:
        PreconditionError: MODEL_MISSING.
    """
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except (OSError, ValueError, HTTPError, HfHubHTTPError, HFValidationError) as error:
        why, gated = _reason(error, local=local_folder(options) is not None)
        raise _missing(options, why, gated=gated) from error


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


def _fetched_index(options: DiffusionOptions) -> Path:
    from huggingface_hub import hf_hub_download

    with reporting_missing(options):
        return Path(
            hf_hub_download(options.model, INDEX, revision=options.revision or None, local_files_only=options.offline)
        )


def _told(path: Path) -> str:
    if path.suffix in _WEIGHTS:
        state = path.stat()
        return f"{state.st_size} {state.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _missing(options: DiffusionOptions, why: str, *, gated: bool = False) -> PreconditionError:
    model = options.model
    begin = "on a machine with internet" if options.offline else "check the name, or"
    place = f"put it into {options.model_dir / model}" if options.model_dir else "name its folder by --model"
    licence = f"; accept its licence at https://huggingface.co/{model} and set HF_TOKEN"
    return PreconditionError(
        f"the model {model} is not here: {why}; {begin} run 'hf download {model} --local-dir FOLDER' and {place}"
        f"{licence if gated or _GATED.search(model) else ''}",
        reason="MODEL_MISSING",
        metadata={"model": model},
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
