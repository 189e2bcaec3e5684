"""Networks of timm: `timm:vit_small_patch8_224.dino`, or a folder that timm saved: `timm:/models/mine`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlparse

from maia.services.subject.backends.networks.failures import library, preprocessing_unsupported, weights_unusable
from maia.services.subject.backends.networks.loaded import Network
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.networks.places import local_file, published_file, repository_file
from maia.services.subject.backends.networks.preprocessing import Fit, Preparation, Preprocessing, triple
from maia.services.subject.backends.networks.weights import class_count, read_state
from maia.wire.errors import NotFoundError, PreconditionError

if TYPE_CHECKING:
    from torch import nn

_FILES: Final = ("model.safetensors", "pytorch_model.bin")


def load(rest: str, options: NetworkOptions, preparation: Preparation | None = None) -> Network:
    """Load a network.

    Args:
        rest: `ARCHITECTURE` or `ARCHITECTURE.TAG`, as timm names them, or a folder.
        options: How.
        preparation: Instead of the one that timm evaluates the weights with.

    Raises:
        NotFoundError: SUBJECT_UNKNOWN, metadata "valid": the nearest names.
        PreconditionError: EXTRA_MISSING, EXTRA_UNUSABLE, MODEL_MISSING, WEIGHTS_UNUSABLE or PREPROCESSING_UNSUPPORTED.
    """
    with library("timm", "torchvision", extra="timm"):
        import timm
        from timm.data.config import resolve_data_config

    if Path(rest).is_dir():
        module = _built(Path(rest), f"local-dir:{rest}", pretrained=True)
    elif not _is_known(rest):
        valid = ", ".join(difflib.get_close_matches(rest, timm.list_models(pretrained=True), 8, 0.0))
        raise NotFoundError(
            f"timm has no network {rest!r:.100}; the nearest are {valid}",
            reason="SUBJECT_UNKNOWN",
            metadata={"subject": rest, "valid": valid},
        )
    elif options.weights is not None:
        module = _with_weights(rest, options.weights)
    else:
        path = _published(rest, options)
        overlay = {"file": str(path), "custom_load": path.suffix == ".npz"}  # of JAX, which timm converts
        module = _built(path, rest, pretrained=True, pretrained_cfg_overlay=overlay)
    config: Mapping[str, Any] = resolve_data_config({}, model=module)  # type: ignore[no-untyped-call]
    return Network(
        module,
        preparation or preprocessing(config),
        f"timm's {Path(rest).name}{f' with {options.weights.name}' if options.weights else ''}.",
        f"timm {timm.__version__} {_config(module).get('architecture', rest)}",
        _classes(module),
    )


def preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    """Return what timm's evaluation transform does.

    Args:
        config: From `timm.data.resolve_data_config`.

    Raises:
        PreconditionError: PREPROCESSING_UNSUPPORTED.
    """
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise preprocessing_unsupported(f"its input is {config['input_size']} instead of 3 channels of a square")
    mean = triple(config["mean"])
    return Preprocessing(
        size=int(height / (config["crop_pct"] or 0.875)),
        crop=height,
        fit={"squash": Fit.SQUASH, "border": Fit.LONGEST}.get(config["crop_mode"], Fit.SHORTEST),
        interpolation=config["interpolation"],
        mean=mean,
        std=triple(config["std"]),
        fill=(round(255 * mean[0]), round(255 * mean[1]), round(255 * mean[2])),
    )


def _is_known(name: str) -> bool:
    """Whether timm has an architecture, and a tag of it if one is named."""
    import timm

    try:
        return timm.is_model(name) and timm.models.get_pretrained_cfg(name) is not None
    except RuntimeError:
        return False


def _published(name: str, options: NetworkOptions) -> Path:
    """The file of published weights: a local one first, then the Hub's, then the authors'."""
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    assert config is not None, "only registered networks are asked for"
    found = local_file(Path(urlparse(config.url).path).name, options) if isinstance(config.url, str) else None
    if found is not None:
        return found
    if config.hf_hub_id:
        names = (str(config.hf_hub_filename),) if config.hf_hub_filename else _FILES
        return repository_file(str(config.hf_hub_id), names, options)
    if isinstance(config.url, str) and config.url:
        return published_file(config.url, options)
    raise PreconditionError(
        f"nobody has published weights for {name}; load your own with --weights FILE",
        reason="MODEL_MISSING",
        metadata={"model": name},
    )


def _with_weights(name: str, path: Path) -> nn.Module:
    """A network with a file's weights, for as many classes as these tell apart."""
    import timm

    state = read_state(path)
    plain = timm.create_model(name)
    count = class_count(plain, state)
    classes = plain.num_classes if count is None else count
    overlay = {"state_dict": state, "num_classes": classes, "label_offset": 0, "label_names": None}
    module = _built(path, name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes)
    _config(module).pop("state_dict", None)  # would keep a second copy
    return module


def _built(path: Path, name: str, **arguments: Any) -> nn.Module:  # noqa: ANN401  (as timm takes them)
    """What timm makes; it renames the weights of other sources on the way."""
    import timm

    try:
        module: nn.Module = timm.create_model(name, **arguments)
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise weights_unusable(path, f"timm says: {error}") from error
    return module


def _classes(module: nn.Module) -> tuple[str, ...] | None:
    """What timm's network tells apart, by the names that it has for them."""
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    count = int(getattr(module, "num_classes", 0))
    if count == 0:
        return None
    config = _config(module)
    if config.get("label_names"):
        return tuple(config["label_names"])
    # A folder or a file of one's own may tell a thousand other things apart.
    subset = infer_imagenet_subset(module) if config.get("url") or config.get("hf_hub_id") else None
    if subset is None:
        return ()
    info = ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(count))


def _config(module: nn.Module) -> dict[str, Any]:
    """What timm knows of a network's weights."""
    config: Any = module.pretrained_cfg
    return cast("dict[str, Any]", config)
