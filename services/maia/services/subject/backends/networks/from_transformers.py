"""Vision models of transformers: `transformers:facebook/dinov2-small`, or a folder: `transformers:/models/mine`.

Which class loads a model follows from its config.json: a classifier where the weights are one's, the vision tower of
CLIP and SigLIP, and the bare encoder of others (ResNet, ViT, DINO, DINOv2, ConvNeXt).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import nn

from maia.services._runtime.libraries import importing
from maia.services.subject.backends.networks.failures import library, preprocessing_unsupported, weights_unusable
from maia.services.subject.backends.networks.loaded import Network
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.networks.places import hub_cache, repository_folder, repository_missing
from maia.services.subject.backends.networks.preprocessing import Centre, Fit, Preparation, Preprocessing, triple
from maia.services.subject.backends.networks.weights import put, read_state

_TOWERS: Final[Mapping[str, str]] = {
    "clip": "CLIPVisionModel",
    "clip_vision_model": "CLIPVisionModel",
    "siglip": "SiglipVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
}
_CLASSIFIER: Final = "ForImageClassification"
_FILTERS: Final[Mapping[int, str]] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
_PLAIN: Final = frozenset(
    {"ViTImageProcessor", "BitImageProcessor", "CLIPImageProcessor", "SiglipImageProcessor", "DeiTImageProcessor"}
)
_CONVNEXT: Final = "ConvNextImageProcessor"
_SQUASHED_FROM: Final = 384  # a ConvNeXt this large gets its pictures uncropped


def load(rest: str, options: NetworkOptions, preparation: Preparation | None = None) -> Network:
    """Load a vision model.

    Args:
        rest: A repository of the Hub, or a folder.
        options: How.
        preparation: Instead of the one that its preprocessor_config.json describes.

    Raises:
        PreconditionError: EXTRA_MISSING, EXTRA_UNUSABLE, MODEL_MISSING, WEIGHTS_UNUSABLE or
            PREPROCESSING_UNSUPPORTED.
    """
    with library("transformers", "huggingface_hub", extra="serve"):
        import transformers

    source = Path(rest) if Path(rest).is_dir() else repository_folder(rest, options) or rest
    where: dict[str, Any] = {"cache_dir": hub_cache(options), "local_files_only": options.offline}
    try:
        config = transformers.AutoConfig.from_pretrained(source, **where)
        processor = None
        if preparation is None:
            processor = _processor(source, where)
        module = _module(config, source, options, where)
    except (OSError, ValueError) as error:
        if isinstance(source, Path):
            raise weights_unusable(source, f"transformers says: {error}") from error
        raise repository_missing(rest, options, str(error)) from error
    title = Path(rest).name if Path(rest).is_dir() else rest
    return Network(
        module,
        preparation or preprocessing(processor),
        f"{type(module).__name__} {title}, by transformers.",
        f"transformers {transformers.__version__} {type(module).__name__}",
        _classes(config) if type(module).__name__.endswith(_CLASSIFIER) else None,
    )


def preprocessing(processor: Any) -> Preprocessing:  # noqa: ANN401  (its attributes are set from a file)
    """Return what an image processor does.

    Args:
        processor: One of transformers that works with Pillow.

    Raises:
        PreconditionError: PREPROCESSING_UNSUPPORTED.
    """
    name = type(processor).__name__.removesuffix("Pil").removesuffix("Fast")
    if name not in _PLAIN | {_CONVNEXT} or not processor.do_resize or getattr(processor, "do_pad", None):
        raise preprocessing_unsupported(f"its pictures are prepared by {name}, or are not resized, or are padded")
    scale = processor.rescale_factor if processor.do_rescale else 1.0
    if abs(scale * 255 - 1) > 1e-6:
        raise preprocessing_unsupported(f"its pixels are scaled by {scale}")
    size, crop, fit = _sizes(processor, squashed=name == _CONVNEXT)
    return Preprocessing(
        size=size,
        crop=crop,
        fit=fit,
        interpolation=_FILTERS.get(int(processor.resample), f"filter {processor.resample}"),
        mean=triple(processor.image_mean) if processor.do_normalize else (0.0, 0.0, 0.0),
        std=triple(processor.image_std) if processor.do_normalize else (1.0, 1.0, 1.0),
        centre=Centre.BEFORE,
    )


def _sizes(processor: Any, *, squashed: bool) -> tuple[int, int, Fit]:  # noqa: ANN401
    """What to resize to, the side of the crop, and how to resize."""
    size, cropped = processor.size, processor.crop_size if processor.do_center_crop else None
    if cropped is not None and cropped["height"] != cropped["width"]:
        raise preprocessing_unsupported(f"its pictures are cropped to {cropped}")
    side = None if cropped is None else int(cropped["height"])
    shortest = size.get("shortest_edge")
    if squashed and shortest:
        if shortest >= _SQUASHED_FROM:
            return shortest, side or shortest, Fit.SQUASH
        return int(shortest / processor.crop_pct), side or shortest, Fit.SHORTEST
    if shortest and side and not size.get("longest_edge"):
        return shortest, side, Fit.SHORTEST
    if size.get("height") and size.get("height") == size.get("width"):
        return size["height"], side or size["height"], Fit.SQUASH
    raise preprocessing_unsupported(f"its pictures are resized to {size} and not cropped to a square")


def _module(config: Any, source: Path | str, options: NetworkOptions, where: dict[str, Any]) -> nn.Module:  # noqa: ANN401
    """The model, with the weights of the repository or of a file."""
    import torch
    import transformers

    architectures = config.architectures or [""]
    if config.model_type in _TOWERS:
        name = _TOWERS[config.model_type]
        config = getattr(config, "vision_config", config)
    else:
        name = "AutoModelForImageClassification" if architectures[0].endswith(_CLASSIFIER) else "AutoModel"
    with importing("transformers"):
        kind = getattr(transformers, name)
    if options.weights is None:
        return _pretrained(kind, source, {"config": config, "dtype": torch.float32, **where})
    state = read_state(options.weights)
    make = kind.from_config if hasattr(kind, "from_config") else kind
    module: nn.Module = make(config)
    put(module, state, options.weights)
    return module


def _processor(source: Path | str, where: dict[str, Any]) -> object:
    import transformers

    with importing("transformers"):  # it imports its parts when they are first asked for
        auto: Any = transformers.AutoImageProcessor
    found: object = auto.from_pretrained(source, backend="pil", **where)
    return found


def _pretrained(kind: Any, source: Path | str, arguments: dict[str, Any]) -> nn.Module:  # noqa: ANN401
    """The model with all its weights: transformers would make up those that a repository lacks."""
    module: nn.Module
    module, report = kind.from_pretrained(source, output_loading_info=True, **arguments)
    missing = set(report["missing_keys"]) | {str(key) for key in report["mismatched_keys"]}
    if missing and all(key.startswith("pooler.") for key in missing):
        module, report = kind.from_pretrained(source, output_loading_info=True, add_pooling_layer=False, **arguments)
        missing = set(report["missing_keys"])
    if missing:
        raise ValueError(f"its weights lack {', '.join(sorted(missing))}")
    return module


def _classes(config: Any) -> tuple[str, ...]:  # noqa: ANN401
    names: Mapping[int, str] = config.id2label or {}
    return tuple(str(names[index]) for index in sorted(names))
