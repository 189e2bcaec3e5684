"""`maia subjects` and `maia ablate`, with a classifier whose answers can be worked out by hand."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from math import exp
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.e2e.conftest import Maia

NETWORK = """
import torch
from torch import nn
from maia.services.subject.backends.networks.from_python import CustomNetwork

def make():
    # Channel c of "0" is the picture's colour c; the logits are their means.
    convolution = nn.Conv2d(3, 3, 1, bias=False)
    convolution.weight.data = torch.eye(3).reshape(3, 3, 1, 1)
    module = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return CustomNetwork(module, preparation, classes=("red", "green", "blue"))

def preparation(image):
    data = torch.frombuffer(bytearray(image.resize((8, 8)).tobytes()), dtype=torch.uint8)
    return data.reshape(8, 8, 3).permute(2, 0, 1) / 255
"""
NAME = "python:colours:make"
HOLD = ("ablate", "--up", "--model", NAME, "--unit", "0:0")


@pytest.fixture
def colours(maia: Maia) -> Maia:
    """The network and two pictures, one red and one blue."""
    (maia.folder / "colours.py").write_text(NETWORK)
    for name, colour in {"red": (255, 0, 0), "blue": (0, 0, 255)}.items():
        Image.new("RGB", (16, 16), colour).save(maia.folder / f"{name}.png")
    maia.environment["PYTHONPATH"] = str(maia.folder)
    return maia


def softmax(*logits: float) -> list[float]:
    powers = [exp(logit) for logit in logits]
    return [power / sum(powers) for power in powers]


def test_a_unit_is_held_at_zero_and_at_its_own_mean(
    colours: Maia, no_processes_left: Callable[[], Sequence[str]]
) -> None:
    held = colours(*HOLD, "red.png", "blue.png")
    assert held.code == 0, held.err
    [first] = [line.split() for line in held.out.splitlines() if "red.png" in line]
    before, after = softmax(1, 0, 0)[0], softmax(0, 0, 0)[0]
    assert first == ["red.png", "0:0", "0", "red", f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"]

    own = colours(*HOLD, "--hold", "mean", "--json", "red.png", "blue.png")
    assert own.code == 0, own.err
    red, blue = (json.loads(line) for line in own.out.splitlines())
    assert (red["picture"], red["unit"], red["precision"]) == ("red.png", {"layer": "0", "index": 0}, "float32")
    assert red["held_at"] == blue["held_at"] == 0.5  # of both pictures together
    changed = {one["class"]: (one["before"], one["after"]) for one in blue["classes"]}
    expected = zip(softmax(0, 0, 1), softmax(0.5, 0, 1), strict=True)
    assert changed == {name: pytest.approx(both) for name, both in zip(("red", "green", "blue"), expected, strict=True)}
    assert no_processes_left() == []


def test_what_cannot_be_ablated_is_told_in_one_line(colours: Maia) -> None:
    for flags, said in (
        (("--unit", "logits:0"), "a unit of logits cannot be held at a value"),
        (("--unit", "0:3"), "has units 0 to 2, not 3"),
        (("--model", "scene-neurons", "--unit", "mono:1"), "scene-neurons tells no classes apart"),
    ):
        ended = colours("ablate", "--up", "--model", NAME, *flags, "red.png")
        assert ended.code == 2
        assert said in ended.err.splitlines()[-1]
        assert ended.out == ""


def test_subjects_are_listed_and_only_a_named_one_is_loaded(
    colours: Maia, no_processes_left: Callable[[], Sequence[str]]
) -> None:
    serve = ("serve", "subject", "--model", "scene-neurons", "--on-demand", NAME, "--listen", "127.0.0.1:0")
    with colours.start(*serve, "--announce") as process, ExitStack() as stack:
        stack.callback(process.terminate)  # whatever fails below, or the end of `with` would wait for it
        assert process.stdout is not None
        at = ("--subject-address", json.loads(process.stdout.readline())["address"])
        listed = colours("subjects", *at)
        assert listed.code == 0, listed.err
        assert re.search(f"{NAME} .*loaded when somebody asks for it", listed.out)
        doctor = colours("doctor", *at)
        assert f"{NAME} on demand" in doctor.out.replace("\n", "")
        assert '"loaded": false' in colours("subjects", *at, "--json").out

        named = colours("subjects", NAME, *at)
        assert "float32, input 8 × 8" in named.out
        assert "3 classes: red, green, blue" in named.out
        assert [line.split() for line in named.out.splitlines() if "probabilities" in line] == [
            ["probabilities", "3", "class", "1", "×", "1"]
        ]
        assert '"loaded": false' not in colours("subjects", *at, "--json").out
        gone = colours("subjects", "nobody", *at)
        assert gone.code == 2
        assert "no subject 'nobody' here" in gone.err
    assert no_processes_left() == []
