"""GroundingDINO and SAM from their files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch

from maia.services._runtime.float32 import calculate_float32_fully
from maia.services._runtime.libraries import importing
from maia.services._runtime.memory import is_out_of_memory
from maia.services._runtime.model_files import files_revision
from maia.services._runtime.revision import revision_of
from maia.services.subject.backends.networks.failures import library, model_missing, weights_unusable
from maia.services.subject.backends.networks.hooked import choose_device
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.networks.places import hub_cache, repository_folder
from maia.services.subject.backends.photograph_neurons.grounded_sam import GroundedSam
from maia.services.subject.backends.photograph_neurons.grounding import Grounding
from maia.services.subject.backends.photograph_neurons.options import PhotographOptions
from maia.services.subject.backends.photograph_neurons.segmenting import Segmenter
from maia.wire.errors import MaiaError, PreconditionError

_FILES: Final = ("*.json", "*.txt", "*.safetensors")
"""Safe tensors only: the older format runs code when it is read."""


def load(options: PhotographOptions, network: NetworkOptions) -> GroundedSam:
    """Load both models; a name or a file that is wrong is found before any weight is read, where that can be.

    Args:
        options: Which models, and their thresholds.
        network: Device, folders, and whether anything may be downloaded.

    Raises:
        PreconditionError: EXTRA_MISSING, EXTRA_UNUSABLE, DEVICE_UNAVAILABLE, MODEL_MISSING, MODEL_UNSUITABLE or
            WEIGHTS_UNUSABLE.
    """
    with library("transformers", "huggingface_hub", "safetensors", extra="serve"):
        transformers: Any = import_module("transformers")
    with importing("transformers"):
        grounding_kind, segmenter_kind = transformers.GroundingDinoForObjectDetection, transformers.SamModel
        pictures, texts = transformers.AutoImageProcessor, transformers.AutoTokenizer
        transformers.utils.logging.disable_progress_bar()
    device = choose_device(network.device)
    calculate_float32_fully()
    detector, segmenter = (
        _folder(options.detector, "--detector", network),
        _folder(options.segmenter, "--segmenter", network),
    )
    _check_kind(transformers, detector, "grounding-dino", "--detector takes a GroundingDINO")
    _check_kind(transformers, segmenter, "sam", "--segmenter takes a SAM, of the first kind")
    with _reporting_unusable(detector):
        tokenizer = texts.from_pretrained(detector)
        processor = pictures.from_pretrained(detector, backend="pil")
        grounding_model = _model(grounding_kind, detector, device)
        _check_tokenizer(tokenizer, grounding_model)
    with _reporting_unusable(segmenter):
        segmenter_processor = pictures.from_pretrained(segmenter, backend="pil")
        segmenter_model = _model(segmenter_kind, segmenter, device)
    parts = [
        files_revision(detector, None),
        files_revision(segmenter, None),
        options.box_threshold,
        options.text_threshold,
        revision_of([Path(__file__).parent]),
        transformers.__version__,
        str(torch.__version__),
    ]
    return GroundedSam(
        Grounding(grounding_model, processor, tokenizer, options.box_threshold, options.text_threshold),
        Segmenter(segmenter_model, segmenter_processor),
        hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12],
        sum(_nbytes(model) for model in (grounding_model, segmenter_model)),
    )


def _folder(name: str, flag: str, network: NetworkOptions) -> Path:
    """Return the folder with a model's files, downloading them if need be and allowed."""
    if Path(name).is_dir():
        return Path(name)
    folder = repository_folder(name, network)
    if folder is not None:
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                name, cache_dir=hub_cache(network), local_files_only=network.offline, allow_patterns=list(_FILES)
            )
        )
    except Exception as error:  # no such repository, no connection, no room: each library below has its own
        if name.startswith(("/", ".", "~")):
            raise PreconditionError(
                f"there is no folder {name}; {flag} takes the folder of a model, or its name on the Hub",
                reason="MODEL_MISSING",
                metadata={"model": name},
            ) from error
        target = (network.model_dir or Path("MODEL_DIR")) / name
        where = f"in {target}, with `hf download {name} --local-dir {target}`, for --model-dir {target.parents[1]}"
        why = str(error).strip().partition("\n")[0]
        raise model_missing(
            f"https://huggingface.co/{name}", f"{where}, or name any folder of it by {flag}", network, why=why
        ) from error


def _check_kind(transformers: Any, folder: Path, wanted: str, advice: str) -> None:  # noqa: ANN401
    with _reporting_unusable(folder):
        kind = transformers.AutoConfig.from_pretrained(folder).model_type
    if kind != wanted:
        raise PreconditionError(
            f"the model in {folder} is a {kind:.50}; {advice}",
            reason="MODEL_UNSUITABLE",
            metadata={"path": str(folder)},
        )


def _model(kind: Any, folder: Path, device: torch.device) -> Any:  # noqa: ANN401
    """Return a model with all its weights: transformers would make up those that are missing."""
    model, report = kind.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    missing = sorted({*map(str, report["missing_keys"]), *map(str, report["mismatched_keys"])})
    if missing:
        raise ValueError(f"its weights lack {', '.join(missing):.300}")
    return model.eval().to(device)


def _check_tokenizer(tokenizer: Any, model: Any) -> None:  # noqa: ANN401
    """Refuse one whose files are missing: transformers would make up an empty one."""
    ends = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.convert_tokens_to_ids(".")}
    if not ends <= set(model.model.special_tokens.tolist()):
        raise ValueError("its tokenizer is missing, or of another model")


def _nbytes(model: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


@contextmanager
def _reporting_unusable(folder: Path) -> Iterator[None]:
    """Turn what transformers raises about files that are here into one sentence.

    Raises:
        PreconditionError: WEIGHTS_UNUSABLE.
    """
    try:
        yield
    except MaiaError:
        raise
    except Exception as error:  # readers raise whatever a malformed file makes them raise
        if is_out_of_memory(error):  # the server makes room and tries again
            raise
        raise weights_unusable(folder, f"{type(error).__name__}: {' '.join(str(error).split())}") from error
