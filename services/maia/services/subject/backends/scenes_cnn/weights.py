"""A trained network as a file: safetensors, with what it recognises and how it was made in the metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised

from maia.services.subject.backends.scenes_cnn.network import SceneNetwork
from maia.services.subject.backends.scenes_cnn.preprocess import INPUT_SIZE
from maia.wire.errors import PreconditionError

SHIPPED: Final = Path(__file__).with_name("weights.safetensors")
"""The weights that come with the package."""

_FORWARD: Final = f"scene-network-1 input {INPUT_SIZE} bilinear centre"
"""Names the code of the forward pass; change it whenever the same weights may give other answers."""

_RETRAIN: Final = "make it afresh with `python -m maia.services.subject.backends.scenes_cnn.train`"


@dataclass(frozen=True, slots=True)
class Weights:
    """A trained network and its papers.

    Attributes:
        network: In evaluation mode, on the CPU.
        concepts: What each logit stands for, in their order.
        revision: 16 hexadecimal digits; other weights or another forward pass have another one.
        training: How the network was made and how well it does: the file's metadata, less what the other fields say.
    """

    network: SceneNetwork
    concepts: tuple[str, ...]
    revision: str
    training: Mapping[str, str]


def save(path: Path, network: SceneNetwork, concepts: tuple[str, ...], training: Mapping[str, str]) -> str:
    """Write a network to `path`, whole or not at all.

    Args:
        path: Where to; replaced if there.
        network: The network.
        concepts: What each of its logits stands for.
        training: Facts about its making, such as the seed and the accuracy.

    Returns:
        The revision that loading the file will find.
    """
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    revision = revision_of(tensors)
    metadata = {**training, "concepts": json.dumps(concepts), "revision": revision}
    partial = path.with_suffix(".partial")
    partial.write_bytes(serialised(tensors, metadata=metadata))
    partial.replace(path)
    return revision


def load(path: Path = SHIPPED) -> Weights:
    """Read a network that `save` wrote.

    Raises:
        PreconditionError: The file is missing, is no such file, or is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # safe_open is no mapping
    except FileNotFoundError as error:
        raise _unusable(path, "is not there") from error
    except (OSError, SafetensorError) as error:
        raise _unusable(path, f"cannot be read ({error})") from error
    try:
        concepts = tuple(json.loads(metadata.pop("concepts")))
        stated = metadata.pop("revision")
        network = SceneNetwork(len(concepts))
        network.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise _unusable(path, f"holds another kind of network ({error})") from error
    revision = revision_of(tensors)
    if revision != stated:
        raise _unusable(path, f"is damaged, or made for another forward pass: revision {revision}, stated {stated}")
    return Weights(network.eval().requires_grad_(requires_grad=False), concepts, revision, metadata)


def revision_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the revision of a network with these tensors: 16 hexadecimal digits."""
    digest = hashlib.sha256(_FORWARD.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _unusable(path: Path, why: str) -> PreconditionError:
    return PreconditionError(
        f"the weights of scenes-cnn at {path} {why}: {_RETRAIN}",
        reason="WEIGHTS_UNUSABLE",
        metadata={"path": str(path)},
    )
