"""What a pipeline's index says of it, before anything else is fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from maia.services._runtime.diffusion.options import DiffusionOptions
from maia.services._runtime.model_files import local_folder, model_missing, reporting_missing
from maia.wire.errors import PreconditionError

INDEX: Final = "model_index.json"


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
        raise model_missing(options, f"{folder} has no {INDEX}, so it is no folder of a pipeline") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise model_missing(options, f"its {INDEX} cannot be read ({type(error).__name__})") from None
    if not isinstance(name, str):  # a class in a file of the model's own, which we would have to run
        raise PreconditionError(
            f"the model {options.model} brings code of its own, which is not run; choose another",
            reason="PIPELINE_UNKNOWN",
            metadata={"model": options.model},
        )
    return name


def _fetched_index(options: DiffusionOptions) -> Path:
    from huggingface_hub import hf_hub_download

    with reporting_missing(options):
        return Path(
            hf_hub_download(options.model, INDEX, revision=options.revision or None, local_files_only=options.offline)
        )
