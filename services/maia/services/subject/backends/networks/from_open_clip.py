"""The visual towers of open_clip's models: `open_clip:ViT-B-32/openai`, or a folder: `open_clip:/models/mine`.

Layers are named relative to the tower (`transformer.resblocks.3`). Weights that were trained with QuickGELU, as all of
OpenAI's, run with it whatever the architecture's default is.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlparse

from torch import nn

from maia.services.subject.backends.networks.failures import library, preprocessing_unsupported, weights_unusable
from maia.services.subject.backends.networks.loaded import Network
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.networks.places import local_file, published_file, repository_file
from maia.services.subject.backends.networks.preprocessing import Fit, Preparation, Preprocessing, triple
from maia.services.subject.backends.networks.weights import read_state
from maia.wire.errors import NotFoundError

_FILES: Final = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_PREPROCESSING: Final = ("mean", "std", "interpolation", "resize_mode")


def load(rest: str, options: NetworkOptions, preparation: Preparation | None = None) -> Network:
    """Load a visual tower.

    Args:
        rest: `ARCHITECTURE/TAG` as open_clip names them, `ARCHITECTURE` alone if `options.weights` names a file, or a
            folder with open_clip_config.json.
        options: How.
        preparation: Instead of the one that open_clip evaluates the weights with.

    Raises:
        NotFoundError: SUBJECT_UNKNOWN, metadata "valid".
        PreconditionError: EXTRA_MISSING, EXTRA_UNUSABLE, MODEL_MISSING, WEIGHTS_UNUSABLE or PREPROCESSING_UNSUPPORTED.
    """
    with library("open_clip", "timm", "torchvision", extra="open-clip"):
        import open_clip

    if Path(rest).is_dir():
        model = _built(Path(rest), f"local-dir:{rest}", require_pretrained=True)
    else:
        model = _of_architecture(rest, options)
    visual = model.get_submodule("visual")
    return Network(
        visual,
        preparation or preprocessing(visual.preprocess_cfg),
        f"The visual tower of {Path(rest).name if Path(rest).is_dir() else rest}, by open_clip.",
        f"open_clip {open_clip.__version__} {rest}",
    )


def preprocessing(config: Mapping[str, Any] | Any) -> Preprocessing:  # noqa: ANN401  (nn.Module's attributes are Any)
    """Return what open_clip's `preprocess_val` does.

    Args:
        config: Of the tower, `preprocess_cfg`.

    Raises:
        PreconditionError: PREPROCESSING_UNSUPPORTED.
    """
    size = config["size"]
    height, width = size if isinstance(size, tuple | list) else (size, size)
    if height != width:
        raise preprocessing_unsupported(f"its input is {height} × {width} instead of a square")
    fill = int(config.get("fill_color", 0))
    return Preprocessing(
        size=height,
        crop=height,
        fit={"squash": Fit.SQUASH, "longest": Fit.LONGEST}.get(config["resize_mode"], Fit.SHORTEST),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        mean=triple(config["mean"]),
        std=triple(config["std"]),
        fill=(fill, fill, fill),
    )


def _of_architecture(rest: str, options: NetworkOptions) -> nn.Module:
    import open_clip
    from open_clip.factory import load_checkpoint

    name, _, tag = rest.rpartition("/") if "/" in rest else (rest, "", "")
    if name not in open_clip.list_models():
        raise _unknown(name, "architecture", open_clip.list_models())
    config: Mapping[str, Any] = open_clip.get_pretrained_cfg(name, tag) if tag else {}
    if not config and (tag or options.weights is None):
        raise _unknown(tag, f"weights of {name} called", open_clip.list_pretrained_tags_by_model(name))
    path = options.weights or _published(config, options)
    # The first is big_vision's own format, which open_clip reads.
    state = None if path.suffix in {".npz", ".npy"} else read_state(path)
    model = _built(
        path,
        name,
        load_weights=False,
        pretrained_text=False,
        force_quick_gelu=bool(config.get("quick_gelu")),
        force_preprocess_cfg={key: config[key] for key in _PREPROCESSING if config.get(key) is not None},
    )
    try:
        load_checkpoint(model, str(path)) if state is None else _put(model, state)
    except (RuntimeError, KeyError, ValueError) as error:
        raise weights_unusable(path, f"they are of another network: {error}") from error
    return model


def _put(model: nn.Module, state: dict[str, Any]) -> None:
    """Put weights of open_clip or of those formats that it converts into a model."""
    from open_clip.convert import convert_state_dict
    from open_clip.factory import convert_to_custom_text_state_dict

    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    own = model.state_dict()
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in own:
            state[name] = state[name].reshape(own[name].shape)
    state.pop("text.transformer.embeddings.position_ids", None)  # of transformers before 4.31, computed since
    model.load_state_dict(state)


def _published(config: Mapping[str, Any], options: NetworkOptions) -> Path:
    """The file of published weights: a local one first, then the Hub's, then the authors'."""
    url, hub = config.get("url", ""), config.get("hf_hub", "")
    found = local_file(Path(urlparse(url).path).name, options) if url else None
    if found is not None:
        return found
    if hub:
        repository, _, name = hub.rpartition("/")
        return repository_file(repository, (name,) if name else _FILES, options)
    return published_file(url, options)


def _built(path: Path, name: str, **arguments: object) -> nn.Module:
    import open_clip

    try:
        model: nn.Module = open_clip.create_model(name, **arguments)
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        raise weights_unusable(path, f"open_clip says: {error}") from error
    return model


def _unknown(name: str, what: str, names: list[str]) -> NotFoundError:
    valid = ", ".join(difflib.get_close_matches(name, names, 12, 0.0))
    return NotFoundError(
        f"open_clip has no {what} {name!r:.100}; the nearest are {valid}",
        reason="SUBJECT_UNKNOWN",
        metadata={"subject": name, "valid": valid},
    )
