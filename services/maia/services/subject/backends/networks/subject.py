"""A network as the server sees it: pictures and units in, answers out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maia.services._runtime.revision import revision_of
from maia.services.subject.backends.networks.answers import DirectionAnswers, LayerAnswers, Reading
from maia.services.subject.backends.networks.directions import Directions
from maia.services.subject.backends.networks.directions import load as load_directions
from maia.services.subject.backends.networks.hooked import HookedNetwork, choose_device
from maia.services.subject.backends.networks.layout import Form, Layout
from maia.services.subject.backends.networks.loaded import Network
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.networks.preprocessing import Preparation, Prepared
from maia.services.subject.backends.networks.tracing import Trace
from maia.services.subject.backends.networks.weights import digest
from maia.services.subject.model import Ablation, Answers, Input, Layer, LayerKind, SubjectInfo
from maia.wire.errors import InvalidRequestError
from maia.wire.pictures import Rgb

LOGITS: Final = "logits"
PROBABILITIES: Final = "probabilities"
_CLASSES: Final = (LOGITS, PROBABILITIES)


class NetworkSubject:
    """A network; a `maia.services.subject.model.Subject`. `build` makes one.

    Args:
        info: Describes it.
        network: Runs.
        preparation: Of its pictures.
        directions: By the name of their layer.
    """

    def __init__(
        self,
        info: SubjectInfo,
        network: HookedNetwork,
        preparation: Preparation,
        directions: Mapping[str, Directions],
    ) -> None:
        self._info = info
        self._network = network
        self._preparation = preparation
        self._directions = directions
        self._stream: torch.cuda.Stream | None = None
        if network.device.type == "cuda":
            self._stream = torch.cuda.Stream(network.device)  # type: ignore[no-untyped-call]

    @property
    def info(self) -> SubjectInfo:
        """Its description."""
        return self._info

    @property
    def nbytes(self) -> int:
        """Of its weights."""
        return self._network.nbytes

    def prepare(self, rgb: Rgb) -> Prepared:
        """Resize and crop, as the network's authors do."""
        return self._preparation.prepare(rgb)

    def look(self, inputs: Sequence[Input], layers: Sequence[str]) -> Mapping[str, Answers]:
        """Run the network, as the protocol says."""
        classes = [name for name in layers if self._info.classes and name in _CLASSES]
        others = [name for name in layers if name not in classes]
        bases = {name: self._directions[name].layer if name in self._directions else name for name in others}
        done = self._network.look(self._batch(inputs), frozenset(bases.values()), whole=bool(classes))
        tensors = {name: done.layers[base] for name, base in bases.items()}
        if done.output is not None:
            tensors |= {name: _of_classes(name, done.output) for name in classes}
        reading = Reading.after_now(self._stream)
        return {name: self._answers(name, bases.get(name, name), tensors[name], reading) for name in layers}

    def _batch(self, inputs: Sequence[Input]) -> Tensor:
        return self._preparation.batch(cast("Sequence[Prepared]", inputs), self._network.device)

    def _answers(self, name: str, base: str, tensor: Tensor, reading: Reading) -> Answers:
        if self._info.classes and name in _CLASSES:
            return LayerAnswers(tensor, Layout(Form.VECTOR, tensor.shape[1]), reading)
        answers = LayerAnswers(tensor, self._network.trace.layers[base].layout, reading)
        return DirectionAnswers(answers, self._directions[name]) if name in self._directions else answers


class NetworkClassifier(NetworkSubject):
    """A network whose outputs are classes; a `maia.services.subject.model.Classifier`."""

    def classify(self, inputs: Sequence[Input], ablation: Ablation | None = None) -> NDArray[np.float32]:
        """Return probabilities, as the protocol says.

        Raises:
            InvalidRequestError: UNIT_NOT_ABLATABLE: the unit is a class or a direction.
        """
        batch = self._batch(inputs)
        if ablation is None:
            output = self._network.output(batch)
        else:
            name, unit, value = ablation.unit.layer, ablation.unit.index, ablation.value
            if name in self._directions or name in _CLASSES:
                raise InvalidRequestError(
                    f"a unit of {name} cannot be held at a value; only a channel of the network can",
                    reason="UNIT_NOT_ABLATABLE",
                    metadata={"layer": name},
                )
            layout = self._network.trace.layers[name].layout
            output = self._network.output(batch, name, lambda tensor: layout.hold(tensor, unit, value))
        return output.float().softmax(dim=1).cpu().numpy()


def build(name: str, loaded: Network, options: NetworkOptions) -> NetworkSubject:
    """Make a subject of a network.

    Args:
        name: What `--model` takes.
        loaded: Becomes part of the subject.
        options: As it was loaded with.

    Returns:
        A `NetworkClassifier` if the network's outputs are classes.

    Raises:
        PreconditionError: DEVICE_UNAVAILABLE, NETWORK_UNUSABLE or DIRECTIONS_UNUSABLE.
    """
    device = choose_device(options.device)
    weights = digest(loaded.module.state_dict())
    side = loaded.preparation.side
    network = HookedNetwork(loaded.module, side, device=device, precision=options.precision)
    channels = {layer: traced.layout.units for layer, traced in network.trace.layers.items()}
    found = [load_directions(file, channels) for file in options.directions]
    directions = {one.name: one.to(device) for one in found}
    classes = _class_names(loaded, network.trace)
    info = SubjectInfo(
        name=name,
        title=loaded.title,
        layers=_layers(network.trace, directions, classes),
        input_size=side,
        revision=_revision(loaded, weights, options, found),
        precision=options.precision.value,
        classes=classes,
    )
    return (NetworkClassifier if classes else NetworkSubject)(info, network, loaded.preparation, directions)


def _layers(trace: Trace, directions: Mapping[str, Directions], classes: tuple[str, ...]) -> tuple[Layer, ...]:
    """All layers in the order in which a pass reaches them, each followed by the directions in it."""
    layers: list[Layer] = []
    for name, traced in trace.layers.items():
        if classes and name in _CLASSES:
            continue
        layout = traced.layout
        layers.append(Layer(name, layout.units, layout.height, layout.width))
        layers += [
            Layer(one.name, len(one.weights), layout.height, layout.width, LayerKind.DIRECTION)
            for one in directions.values()
            if one.layer == name
        ]
    if classes:
        layers += [Layer(name, len(classes), 1, 1, LayerKind.CLASS) for name in _CLASSES]
    return tuple(layers)


def _class_names(loaded: Network, trace: Trace) -> tuple[str, ...]:
    if loaded.classes is None or trace.outputs is None:
        return ()
    if len(loaded.classes) == trace.outputs:
        return loaded.classes
    return tuple(f"class {index}" for index in range(trace.outputs))


def _of_classes(name: str, logits: Tensor) -> Tensor:
    return logits.float().softmax(dim=1) if name == PROBABILITIES else logits


def _revision(loaded: Network, weights: str, options: NetworkOptions, directions: Sequence[Directions]) -> str:
    """12 hexadecimal digits that change with all that an answer depends on, except the device."""
    parts = [
        weights,
        loaded.origin,
        torch.__version__,
        repr(loaded.preparation),
        options.precision.value,
        revision_of([Path(__file__).parent]),
        *(f"{one.name} {one.revision}" for one in directions),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
