"""Small networks with fixed weights, for programs: `python:tests.unit.services.building.networks:…`."""

from __future__ import annotations

import os
import time

import torch
from torch import Tensor, nn

from maia.services.subject.backends.networks.preprocessing import Preprocessing

SLOWNESS = "MAIA_TEST_PASS_S"
"""Variable with the seconds that a pass of `slow` takes besides."""

PREPARATION = Preprocessing(20, 16)


def tiny() -> tuple[nn.Module, Preprocessing]:
    """Maps of two sizes, and a vector."""
    torch.manual_seed(7)
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3, 2), *pooled), PREPARATION


def slow() -> tuple[nn.Module, Preprocessing]:
    """The same, with time to be killed in."""
    module, preparation = tiny()
    return nn.Sequential(_Slow(), *module.children()), preparation


def printing() -> tuple[nn.Module, Preprocessing]:
    """One that prints as it runs, which facts as JSON on the same output must survive."""
    module, preparation = tiny()
    return nn.Sequential(_Printing(), *module.children()), preparation


def nowhere() -> tuple[nn.Module, Preprocessing]:
    """One layer answers with what is no number to every picture that is not black."""
    return nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), _Root()), PREPARATION


class _Slow(nn.Module):
    def forward(self, batch: Tensor) -> Tensor:
        time.sleep(float(os.environ.get(SLOWNESS, "0")))
        return batch


class _Printing(nn.Module):
    def forward(self, batch: Tensor) -> Tensor:
        print("passing", flush=True)
        os.write(1, b"and past Python\n")
        return batch


class _Root(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return torch.sqrt(-1 - maps.abs())
