"""Classifiers of torchvision: `torchvision:resnet50`, or by weights `torchvision:resnet50/IMAGENET1K_V1`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from maia.services.subject.backends.networks.failures import library, preprocessing_unsupported
from maia.services.subject.backends.networks.loaded import Network
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.networks.places import published_file
from maia.services.subject.backends.networks.preprocessing import Preparation, Preprocessing, triple
from maia.services.subject.backends.networks.weights import class_count, put, read_state
from maia.wire.errors import NotFoundError

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

_TRAINED_AS: Final[Mapping[str, Mapping[str, Any]]] = {
    # What the published weights presuppose and torchvision sets only where it loads them itself.
    "googlenet": {"transform_input": True, "aux_logits": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "aux_logits": True, "init_weights": False},
}


def load(rest: str, options: NetworkOptions, preparation: Preparation | None = None) -> Network:
    """Load a classifier.

    Args:
        rest: `NAME` or `NAME/WEIGHTS`, as torchvision names them; its own choice of weights by default.
        options: How.
        preparation: Instead of the one that the weights were evaluated with.

    Raises:
        NotFoundError: SUBJECT_UNKNOWN, metadata "valid": the nearest names.
        PreconditionError: EXTRA_MISSING, EXTRA_UNUSABLE, MODEL_MISSING or WEIGHTS_UNUSABLE.
    """
    with library("torchvision", extra="torchvision"):
        import torchvision
        from torchvision import models

    name, _, chosen = rest.partition("/")
    names = models.list_models(module=models)
    if name not in names:
        raise _unknown("network", name, names)
    builder, entries = models.get_model_builder(name), models.get_model_weights(name)
    valid = [entry.name for entry in entries]
    if chosen and chosen not in valid:
        raise _unknown(f"weights of {name} called", chosen, valid)
    entry = entries[chosen] if chosen else entries.DEFAULT
    arguments = {"num_classes": len(entry.meta["categories"]), **_TRAINED_AS.get(name, {}), **_sized(name, entry)}
    path = options.weights or published_file(entry.url, options)
    state = read_state(path)
    module = builder(weights=None, **arguments)
    count = class_count(module, state)
    classes = tuple(entry.meta["categories"])
    if count is not None:
        module, classes = builder(weights=None, **{**arguments, "num_classes": count}), ()
    put(module, state, path)
    return Network(
        module,
        preparation or preprocessing(entry.transforms()),
        f"torchvision's {name} with {path.name if options.weights else entry.name}.",
        f"torchvision {torchvision.__version__} {name}",
        classes,
    )


def preprocessing(transform: object) -> Preprocessing:
    """Return what a preset of torchvision does.

    Raises:
        PreconditionError: PREPROCESSING_UNSUPPORTED.
    """
    from torchvision.transforms._presets import ImageClassification

    if not isinstance(transform, ImageClassification):
        raise preprocessing_unsupported(f"its pictures are prepared by {type(transform).__name__}")
    return Preprocessing(
        size=transform.resize_size[0],
        crop=transform.crop_size[0],
        interpolation=transform.interpolation.value,
        mean=triple(transform.mean),
        std=triple(transform.std),
    )


def _sized(name: str, entry: WeightsEnum) -> dict[str, object]:
    """The size of input, for networks that are built for one."""
    if name.startswith("vit_"):
        return {"image_size": entry.meta["min_size"][0]}
    return {"input_size": entry.meta["min_size"]} if name.startswith("maxvit_") else {}


def _unknown(what: str, name: str, names: list[str]) -> NotFoundError:
    valid = ", ".join(difflib.get_close_matches(name, names, 8, 0.0))
    return NotFoundError(
        f"torchvision has no {what} {name!r:.100}; the nearest are {valid}",
        reason="SUBJECT_UNKNOWN",
        metadata={"subject": name, "valid": valid},
    )
