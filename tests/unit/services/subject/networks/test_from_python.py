from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from maia.services.subject.backends.networks.catalogue import load
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.measuring import measure
from maia.services.subject.model import Unit
from maia.wire.errors import PreconditionError
from maia.wire.maps import Frame

FACTORIES = """
import numpy as np, torch
from torch import nn
from maia.services.subject.backends.networks.from_python import CustomNetwork
from maia.services.subject.backends.networks.preprocessing import Preprocessing
from maia.wire.maps import Frame

def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

def left_half(picture):
    half = picture.crop((0, 0, picture.width / 2, picture.height)).resize((16, 16))
    return torch.from_numpy(np.array(half)).permute(2, 0, 1).float() / 255

def pair(): return network(), Preprocessing(20, 16)
def function(): return network(), left_half
def custom(): return CustomNetwork(network(), left_half, ("yes", "no"), lambda w, h: Frame(0, 0, w / 2, h))
def counted(): return CustomNetwork(network(), classes=2)
def broken(): raise ValueError("out of paper")
def number(): return 7
def odd(): return network(), lambda picture: torch.zeros(1)
def changing(): return network(), lambda picture: torch.zeros((3, picture.width, picture.width))
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_networks.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    return "my_networks"


CPU = NetworkOptions(device="cpu")


@pytest.mark.parametrize(
    ("factory", "side", "classes"),
    [
        ("network", 224, ()),
        ("pair", 16, ()),
        ("function", 16, ()),
        ("custom", 16, ("yes", "no")),
        ("counted", 224, ("class 0", "class 1")),
    ],
)
def test_takes_what_a_factory_returns(factory: str, side: int, classes: tuple[str, ...]) -> None:
    subject = load(f"python:my_networks:{factory}", CPU)
    assert (subject.info.input_size, subject.info.classes) == (side, classes)
    assert measure(subject, [np.zeros((30, 40, 3), np.uint8)], [Unit("0", 3)]).maps[0].shape == (1, side - 2, side - 2)


def test_a_function_prepares_pictures_and_says_what_is_left_of_them() -> None:
    rgb = np.zeros((30, 40, 3), np.uint8)
    other = rgb.copy()
    other[:, 20:] = 255
    subject = load("python:my_networks:custom", CPU)
    measured = measure(subject, [rgb, other], [Unit("0", 0)])
    np.testing.assert_array_equal(measured.maps[0][0], measured.maps[0][1])
    assert measured.frames == (Frame(0, 0, 20, 30),) * 2
    assert load("python:my_networks:function", CPU).prepare(rgb).frame == Frame.whole(40, 30)


def test_loads_weights_of_ones_own(tmp_path: Path) -> None:
    import my_networks  # type: ignore[import-not-found]

    torch.manual_seed(9)
    module = my_networks.network()
    torch.save(module.state_dict(), tmp_path / "mine.pth")
    subject = load("python:my_networks:pair", NetworkOptions(device="cpu", weights=tmp_path / "mine.pth"))
    found = subject.look([subject.prepare(np.zeros((16, 16, 3), np.uint8))], ["0"])["0"].maps(0, range(4))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = module[0]((-mean / std)[None, :, None, None].expand(1, 3, 16, 16))
    np.testing.assert_allclose(found, expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("my_networks:broken", "ValueError: out of paper"),
        ("my_networks:absent", "AttributeError"),
        ("no_such_module:make", "ModuleNotFoundError"),
        ("my_networks:number", "int instead of a network"),
        ("my_networks:odd", "makes no tensor"),
    ],
)
def test_explains_what_is_wrong_with_a_factory(name: str, text: str) -> None:
    with pytest.raises(PreconditionError, match=text) as caught:
        load(f"python:{name}", CPU)
    assert caught.value.reason == "FACTORY_UNUSABLE"


def test_refuses_a_picture_that_a_function_makes_another_size_of() -> None:
    subject = load("python:my_networks:changing", CPU)
    subject.prepare(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(PreconditionError, match="64 pixels square before"):
        subject.prepare(np.zeros((40, 40, 3), np.uint8))
