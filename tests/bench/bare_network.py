"""A network run with nothing around it, as a companion: `python -m tests.bench.bare_network FACTORY WAY`.

    batches    the best that a loop can do: batch by batch, no gradients, channels last, no further than the layer
    singly     as MAIA measures: one picture at a time through the whole network, with a hook and with gradients on

Both decode and prepare pictures exactly as the server does, and the layer's answers stay where they are but for those
of one unit, which MAIA's way reads.
"""

from __future__ import annotations

import sys
import time

import torch
from tests.bench import networks
from tests.bench.companion import answering
from tests.bench.servers import pictures
from torch import Tensor, nn

from maia.services._runtime.memory import keep_freed_memory
from maia.services.subject.backends.networks.preprocessing import IMAGENET
from maia.type.v1 import type_pb2
from maia.wire.pictures import decode

CPU = torch.device("cpu")


def batches(module: nn.Module, asked: list[type_pb2.Picture], batch: int) -> None:
    """Run pictures through the encoder, which the deepest layer ends."""
    embedder, encoder = module.get_submodule("resnet.embedder"), module.get_submodule("resnet.encoder")
    with torch.inference_mode():
        for start in range(0, len(asked), batch):
            encoder(embedder(_prepared(asked[start : start + batch])))


def singly(module: nn.Module, asked: list[type_pb2.Picture], layer: str) -> list[float]:
    """Run pictures through the network and return the activations of a layer's first unit."""
    found: list[Tensor] = []
    hook = module.get_submodule(layer).register_forward_hook(lambda *call: found.append(_first(call[-1])))
    activations = []
    for picture in asked:
        found.clear()
        module(_prepared([picture]).contiguous())  # as a transform of torchvision leaves it
        activations.append(float(found[0][0, 0].detach().numpy().max()))
    hook.remove()
    return activations


def _first(output: object) -> Tensor:
    tensor = output if isinstance(output, Tensor) else getattr(output, "last_hidden_state")  # noqa: B009  (no type)
    assert isinstance(tensor, Tensor)
    return tensor


def _prepared(some: list[type_pb2.Picture]) -> Tensor:
    return IMAGENET.batch([IMAGENET.prepare(decode(picture.data)) for picture in some], CPU)


def main() -> None:
    """Load the network, then do as told."""
    factory, way = sys.argv[1:]
    module: nn.Module = getattr(networks, factory)().eval()
    if way == "batches":
        keep_freed_memory()  # as the server does, so that the figure is of serving alone; MAIA does not
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def work(*, seed: int, count: int, batch: int = 0, layer: str = "") -> float:
        asked = pictures(count, seed)
        started = time.perf_counter()
        if way == "batches":
            batches(module, asked, batch)
        else:
            singly(module, asked, layer)
        return time.perf_counter() - started

    answering(work)


main()
