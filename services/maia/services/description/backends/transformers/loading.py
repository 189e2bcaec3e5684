"""A vision-language model from its files: which class, in which number format, on which device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from maia.services._runtime.devices import chosen_device
from maia.services._runtime.float32 import calculate_float32_fully
from maia.services._runtime.libraries import importing, require_libraries
from maia.services._runtime.memory import is_out_of_memory
from maia.services._runtime.model_files import files_revision, local_folder, model_missing, reporting_missing
from maia.services.description.backends.transformers.options import TransformersOptions
from maia.wire.errors import MaiaError, PreconditionError

_LIBRARIES: Final = ("torch", "transformers", "accelerate")
_FILES: Final = ("*.json", "*.jinja", "*.txt", "*.model", "*.safetensors")
"""Safe tensors only: the older format runs code when it is read."""
_NOT_FILES: Final = ("*/*", "consolidated*")  # copies of the weights in other libraries' layouts


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model, ready to be asked.

    Attributes:
        model: A `transformers.PreTrainedModel` that generates text, on its device.
        processor: Makes its inputs of pictures and text; pads on the left, since an answer continues its prompt.
        device: Where it is.
        dtype: Of its numbers, for example "bfloat16".
        files: Name of exactly these files.
    """

    model: Any
    processor: Any
    device: str
    dtype: str
    files: str


def load(options: TransformersOptions) -> Loaded:
    """Load a model; what is wrong with it is said before any weight is read, where that can be known.

    Raises:
        PreconditionError: EXTRA_MISSING, EXTRA_UNUSABLE, DEVICE_MISSING, MODEL_UNNAMED, MODEL_MISSING, MODEL_UNSUITABLE
            or MODEL_TOO_LARGE.
    """
    require_libraries(*_LIBRARIES, extra="maia[serve]")
    device = chosen_device(options.device)
    folder = _folder(options)
    with importing("transformers"):
        transformers: Any = import_module("transformers")
        processor_kind, model_kind = transformers.AutoProcessor, transformers.AutoModelForImageTextToText
        transformers.utils.logging.disable_progress_bar()
    with _reporting_unusable(options):
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if type(config) not in transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise _unsuitable(options, f"is a {config.model_type}, which does not put pictures into words")
    with _reporting_unusable(options):
        processor = processor_kind.from_pretrained(folder, trust_remote_code=False)
    _check_processor(processor, options)
    with _reporting_unusable(options):
        # With Pillow wherever a model has that choice, so that a picture is the same whatever else is installed. Of
        # the part alone: a processor of videos beside it has no such choice, and refuses it.
        processor.image_processor = transformers.AutoImageProcessor.from_pretrained(
            folder, backend="pil", trust_remote_code=False
        )
    dtype = options.dtype if options.dtype != "auto" else ("float32" if device == "cpu" else "auto")
    if dtype == "float32":
        calculate_float32_fully()
    with _reporting_unusable(options):
        model = _model(model_kind, folder, options, device, dtype)
    return Loaded(model, processor, device, str(model.dtype).removeprefix("torch."), files_revision(folder, None))


def _folder(options: TransformersOptions) -> Path:
    if folder := local_folder(options):
        return folder
    from huggingface_hub import snapshot_download

    with reporting_missing(options):
        return Path(
            snapshot_download(
                options.model,
                revision=options.revision or None,
                local_files_only=options.offline,
                allow_patterns=list(_FILES),
                ignore_patterns=list(_NOT_FILES),
            )
        )


def _check_processor(processor: Any, options: TransformersOptions) -> None:  # noqa: ANN401  each model has its own
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or getattr(processor, "image_processor", None) is None:
        raise _unsuitable(options, "has no processor of pictures and text among its files")
    if not (getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)):
        raise _unsuitable(options, "has no chat template, so that nobody knows how to ask it")
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token


def _model(kind: Any, folder: Path, options: TransformersOptions, device: str, dtype: str) -> Any:  # noqa: ANN401  see Loaded
    import torch

    model, report = kind.from_pretrained(
        folder,
        dtype=dtype if dtype == "auto" else getattr(torch, dtype),
        device_map=None if device == "cpu" else {"": device},
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    # Transformers would make up the weights that a folder lacks.
    missing = sorted({*map(str, report["missing_keys"]), *map(str, report["mismatched_keys"])})
    if missing:
        raise model_missing(options, f"its weights lack {', '.join(missing):.200}")
    return model.eval()


def _unsuitable(options: TransformersOptions, why: str) -> PreconditionError:
    return PreconditionError(
        f"the model {options.model} {why}; choose an image-text-to-text model that chats",
        reason="MODEL_UNSUITABLE",
        metadata={"model": options.model},
    )


@contextmanager
def _reporting_unusable(options: TransformersOptions) -> Iterator[None]:
    """Turn what transformers raises about files on this machine into one sentence that says what to do.

    Raises:
        PreconditionError: EXTRA_MISSING, MODEL_TOO_LARGE or MODEL_MISSING.
    """
    try:
        yield
    except MaiaError:
        raise
    except ImportError as error:
        needs_torchvision = "torchvision" in str(error).lower()
        advice = "install it by: pip install 'maia[torchvision]'" if needs_torchvision else "install it"
        raise PreconditionError(
            f"the model {options.model} needs a library that is not installed: {_short(error)}; {advice}",
            reason="EXTRA_MISSING",
            metadata={"extra": "maia[torchvision]"} if needs_torchvision else {},
        ) from error
    except Exception as error:  # readers raise whatever a malformed file makes them raise
        if is_out_of_memory(error):
            raise PreconditionError(
                f"{options.model} does not fit into the memory of the device; try --dtype bfloat16 or another --device",
                reason="MODEL_TOO_LARGE",
                metadata={"model": options.model},
            ) from error
        raise model_missing(options, f"its files cannot be loaded ({type(error).__name__}: {_short(error)})") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
