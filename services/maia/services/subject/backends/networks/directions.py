"""Directions in the channels of a layer, as units of a layer of their own.

A safetensors file holds either

    directions                  (directions, channels)     unit vectors; a unit's map is their product with the channels
    W_enc | encoder.weight      (latents, channels), or its transpose: the encoder of a sparse autoencoder
    b_enc | encoder.bias        (latents,)
    b_dec | decoder.bias | pre_bias     (channels,), optional: subtracted from the channels before they are encoded

and a latent's map is relu(W_enc · (x - b_dec) + b_enc) at every place. Which of the two orders W_enc is in follows from
the length of b_enc; of a square one, rows are latents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from maia.services.subject.backends.networks.options import DirectionsFile
from maia.services.subject.backends.networks.weights import digest
from maia.wire.errors import PreconditionError

_ENCODER: Final = ("W_enc", "encoder.weight")
_ENCODER_BIAS: Final = ("b_enc", "encoder.bias")
_DECODER_BIAS: Final = ("b_dec", "decoder.bias", "pre_bias")
_LENGTH_TOLERANCE: Final = 1e-2


@dataclass(frozen=True, slots=True)
class Directions:
    """Directions in one layer's channels.

    Attributes:
        layer: Whose channels.
        name: Of the layer that they make up, `<layer>@<name>`.
        weights: float32, (directions, channels).
        bias: float32, (directions,), of an encoder; None for plain directions, whose products may be negative.
        centre: float32, (channels,), to subtract before; None for nothing.
        revision: Of the file's contents.
    """

    layer: str
    name: str
    weights: Tensor
    bias: Tensor | None
    centre: Tensor | None
    revision: str

    def to(self, device: torch.device) -> Directions:
        """Return the same on a device."""
        bias, centre = (None if one is None else one.to(device) for one in (self.bias, self.centre))
        return Directions(self.layer, self.name, self.weights.to(device), bias, centre, self.revision)

    def respond(self, maps: Tensor, units: Sequence[int]) -> Tensor:
        """Return maps of directions.

        Args:
            maps: (channels, h, w), of the layer.
            units: Which directions.

        Returns:
            float32, (len(units), h, w).
        """
        chosen = list(units)
        values = maps.float()
        if self.centre is not None:
            values = values - self.centre[:, None, None]
        answers = torch.einsum("uc,chw->uhw", self.weights[chosen], values)
        return answers if self.bias is None else (answers + self.bias[chosen][:, None, None]).relu_()


def load(file: DirectionsFile, channels: Mapping[str, int]) -> Directions:
    """Read directions.

    Args:
        file: Where they are.
        channels: Of every layer that the network has.

    Raises:
        PreconditionError: DIRECTIONS_UNUSABLE: the file is absent, damaged or of another shape, or names no layer of
            the network.
    """
    tensors, metadata = _read(file)
    layer = file.layer or metadata.get("layer")
    if layer is None:
        raise _unusable(file, 'it does not say of which layer they are; put that into its metadata under "layer"')
    if layer not in channels:
        raise _unusable(file, f"the network has no layer {layer!r:.100} that they could be directions of")
    width = channels[layer]
    weights, bias = tensors.get("directions"), None
    if weights is None:
        weights, bias = _encoder(file, tensors, width)
    if weights.ndim != 2 or weights.shape[1] != width or 0 in weights.shape:
        raise _unusable(file, f"{tuple(weights.shape)} are no directions in the {width} channels of {layer}")
    if bias is None and (weights.norm(dim=1) - 1).abs().max() > _LENGTH_TOLERANCE:
        raise _unusable(file, "its directions are no unit vectors; divide each by its length")
    centre = None if bias is None else _first(tensors, _DECODER_BIAS)
    if centre is not None and centre.shape != (width,):
        raise _unusable(file, f"its decoder's bias has shape {tuple(centre.shape)}, and {layer} {width} channels")
    name = file.name or metadata.get("name") or file.path.stem
    return Directions(layer, f"{layer}@{name}", weights.contiguous(), bias, centre, digest(tensors))


def _read(file: DirectionsFile) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file.path, "pt") as opened:
            tensors = {key: opened.get_tensor(key).float() for key in opened.keys()}  # noqa: SIM118  (is no mapping)
            return tensors, opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _unusable(file, f"it cannot be read as safetensors: {error}") from error


def _encoder(file: DirectionsFile, tensors: Mapping[str, Tensor], width: int) -> tuple[Tensor, Tensor]:
    """The weights of an encoder with a row for each latent, and their biases."""
    weights, bias = _first(tensors, _ENCODER), _first(tensors, _ENCODER_BIAS)
    if weights is None or bias is None or weights.ndim != 2 or bias.ndim != 1:
        raise _unusable(
            file, f'it holds {sorted(tensors)}, and neither a matrix "directions" nor an encoder "W_enc" with "b_enc"'
        )
    latents = len(bias)
    if weights.shape not in {(latents, width), (width, latents)}:
        raise _unusable(file, f"an encoder {tuple(weights.shape)} with {latents} biases does not fit {width} channels")
    return (weights if weights.shape == (latents, width) else weights.T), bias


def _first(tensors: Mapping[str, Tensor], names: Sequence[str]) -> Tensor | None:
    return next((tensors[name] for name in names if name in tensors), None)


def _unusable(file: DirectionsFile, why: str) -> PreconditionError:
    return PreconditionError(
        f"the directions in {file.path} cannot be used: {why}",
        reason="DIRECTIONS_UNUSABLE",
        metadata={"path": str(file.path)},
    )
