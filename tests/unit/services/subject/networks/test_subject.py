"""A network as a subject: what is measured is what a plain forward hook sees."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from maia.services.subject.backends.networks.loaded import Network
from maia.services.subject.backends.networks.options import DirectionsFile, NetworkOptions, Precision
from maia.services.subject.backends.networks.preprocessing import Preprocessing
from maia.services.subject.backends.networks.subject import NetworkClassifier, NetworkSubject, build
from maia.services.subject.measuring import measure
from maia.services.subject.model import Ablation, Classifier, LayerKind, Subject, Unit
from maia.wire.errors import InvalidRequestError
from maia.wire.pictures import Rgb

PREPARATION = Preprocessing(36, 32)
CPU = NetworkOptions(device="cpu")


class Mixed(nn.Module):
    """Maps, tokens with two others before them, and three classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.patch = nn.Conv2d(6, 8, 8, 8)
        self.prefix = nn.Parameter(torch.randn(1, 2, 8))
        self.mix = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.fc = nn.Linear(8, 10)
        self.logits = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(self.relu(self.norm(self.conv(x))))
        tokens = torch.cat([self.prefix.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
        out: Tensor = self.logits(self.fc(self.mix(tokens)).mean(1))
        return out


def loaded(*, classes: tuple[str, ...] | None = ("cat", "dog", "owl")) -> Network:
    return Network(Mixed().eval(), PREPARATION, "A test.", "test 1", classes)


@pytest.fixture(scope="module")
def subject() -> NetworkClassifier:
    made = build("mixed", loaded(), CPU)
    assert isinstance(made, NetworkClassifier)
    return made


def raw(name: str, batch: Tensor) -> Tensor:
    """What a layer of `Mixed` returns, as maps, by a plain hook."""
    module, seen = Mixed().eval(), list[Tensor]()
    module.get_submodule(name).register_forward_hook(lambda part, inputs, output: seen.append(output.clone()))
    with torch.no_grad():
        module(batch)
    if name == "fc":
        return seen[0][:, 2:].transpose(1, 2).reshape(len(batch), -1, 4, 4)
    return seen[0] if seen[0].ndim == 4 else seen[0][:, :, None, None]


def batch_of(pictures: list[Rgb]) -> Tensor:
    return PREPARATION.batch([PREPARATION.prepare(rgb) for rgb in pictures], torch.device("cpu"))


def test_describes_itself(subject: NetworkClassifier) -> None:
    info = subject.info
    layers = {layer.name: layer for layer in info.layers}
    assert isinstance(subject, Classifier)
    assert (info.name, info.input_size, info.precision, info.classes) == ("mixed", 32, "float32", ("cat", "dog", "owl"))
    assert list(layers)[:4] == ["conv", "norm", "relu", "patch"]
    assert list(layers)[-3:] == ["fc", "logits", "probabilities"]
    assert (layers["conv"].units, layers["conv"].map_height, layers["conv"].kind) == (6, 32, LayerKind.CHANNEL)
    assert (layers["fc"].units, layers["fc"].map_height, layers["fc"].map_width) == (10, 4, 4)
    assert (layers["logits"].units, layers["logits"].map_height, layers["logits"].kind) == (3, 1, LayerKind.CLASS)


@pytest.mark.parametrize("name", ["conv", "norm", "relu", "patch", "fc"])
def test_measures_what_a_forward_hook_sees(name: str, subject: NetworkClassifier, pictures: list[Rgb]) -> None:
    expected = raw(name, batch_of(pictures)).numpy()
    indices = [expected.shape[1] - 1, 2, 2]
    measured = measure(subject, pictures, [Unit(name, index) for index in indices])
    np.testing.assert_array_equal(measured.activations, expected[:, indices].max((2, 3)))
    for column, index in enumerate(indices):
        np.testing.assert_array_equal(measured.maps[column], expected[:, index].astype(np.float16))
    assert measured.frames == tuple(PREPARATION.prepare(rgb).frame for rgb in pictures)


def test_a_picture_among_others_of_other_sizes_is_measured_as_alone(
    subject: NetworkClassifier, pictures: list[Rgb]
) -> None:
    """To 1e-5: convolutions and products of other sizes are summed in another order."""
    units = [Unit("fc", 9), Unit("norm", 0), Unit("probabilities", 2), Unit("fc", 0), Unit("conv", 5)]
    together = measure(subject, pictures, units)
    for row, rgb in enumerate(pictures):
        alone = measure(subject, [rgb], units)
        np.testing.assert_allclose(together.activations[row], alone.activations[0], rtol=1e-5, atol=1e-5)
        for column in range(len(units)):
            np.testing.assert_allclose(together.maps[column][row], alone.maps[column][0], rtol=2e-3, atol=1e-3)


def test_answers_hold_what_they_say_and_nothing_more(subject: NetworkClassifier, pictures: list[Rgb]) -> None:
    inputs = [subject.prepare(rgb) for rgb in pictures[:2]]
    answers = subject.look(inputs, ["norm", "fc"])
    assert answers["norm"].nbytes == 2 * 6 * 32 * 32 * 4
    assert answers["fc"].nbytes == 2 * (16 + 2) * 10 * 4
    maps = answers["norm"].maps(1, [3])
    kept = maps.copy()
    maps[:] = 0
    np.testing.assert_array_equal(answers["norm"].maps(1, [3]), kept)


def test_classes_are_units(subject: NetworkClassifier, pictures: list[Rgb]) -> None:
    with torch.no_grad():
        logits = Mixed().eval()(batch_of(pictures)).numpy()
    units = [Unit(layer, index) for layer in ("logits", "probabilities") for index in range(3)]
    measured = measure(subject, pictures, [*units, Unit("conv", 0)])
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = exponents / exponents.sum(1, keepdims=True)
    np.testing.assert_allclose(measured.activations[:, :3], logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(measured.activations[:, 3:6], probabilities, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        subject.classify([subject.prepare(rgb) for rgb in pictures]), probabilities, rtol=1e-5, atol=1e-6
    )
    assert measured.maps[0].shape == (len(pictures), 1, 1)


def test_without_classes_there_are_none(pictures: list[Rgb]) -> None:
    """The module that happens to be called "logits" is then a layer like any other."""
    plain: Subject = build("plain", loaded(classes=None), CPU)
    assert not isinstance(plain, Classifier)
    assert plain.info.classes == ()
    assert {layer.kind for layer in plain.info.layers} == {LayerKind.CHANNEL}
    assert measure(plain, pictures, [Unit("logits", 1)]).activations.shape == (len(pictures), 1)


@pytest.mark.parametrize("classes", [(), ("one", "two")])
def test_classes_without_a_name_are_numbered(classes: tuple[str, ...]) -> None:
    assert build("x", loaded(classes=classes), CPU).info.classes == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_ablation_holds_a_channel_of_a_map(value: float, subject: NetworkClassifier, pictures: list[Rgb]) -> None:
    module, batch = Mixed().eval(), batch_of(pictures)
    with torch.no_grad():
        norm = module.norm(module.conv(batch))
        norm[:, 4] = value
        x = module.patch(module.relu(norm)).flatten(2).transpose(1, 2)
        tokens = torch.cat([module.prefix.expand(len(x), -1, -1), x], 1)
        expected = module.logits(module.fc(module.mix(tokens)).mean(1)).softmax(1).numpy()
    inputs = [subject.prepare(rgb) for rgb in pictures]
    found = subject.classify(inputs, Ablation(Unit("norm", 4), value))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(found, subject.classify(inputs), atol=1e-6)


def test_ablation_holds_all_tokens_of_the_picture_and_no_other(subject: NetworkClassifier, pictures: list[Rgb]) -> None:
    module, batch = Mixed().eval(), batch_of(pictures)
    seen: list[Tensor] = []
    module.fc.register_forward_hook(lambda part, inputs, output: seen.append(output.clone()))
    with torch.no_grad():
        module(batch)
        seen[0][:, 2:, 7] = -2.0
        expected = module.logits(seen[0].mean(1)).softmax(1).numpy()
    found = subject.classify([subject.prepare(rgb) for rgb in pictures], Ablation(Unit("fc", 7), -2.0))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_directions_are_layers(tmp_path: Path, pictures: list[Rgb]) -> None:
    vectors = nn.functional.normalize(torch.randn(4, 10), dim=1)
    save_file({"directions": vectors}, tmp_path / "probe.safetensors", {"layer": "fc"})
    options = dataclasses.replace(CPU, directions=(DirectionsFile(tmp_path / "probe.safetensors"),))
    subject = build("mixed", loaded(), options)
    names = [layer.name for layer in subject.info.layers]
    layer = subject.info.layers[names.index("fc@probe")]
    assert names.index("fc@probe") == names.index("fc") + 1
    assert (layer.units, layer.map_height, layer.kind) == (4, 4, LayerKind.DIRECTION)

    expected = torch.einsum("dc,bchw->bdhw", vectors, raw("fc", batch_of(pictures))).numpy()
    measured = measure(subject, pictures, [Unit("fc@probe", 3), Unit("fc", 0), Unit("fc@probe", 1)])
    np.testing.assert_allclose(measured.maps[0], expected[:, 3], rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(measured.activations[:, 2], expected[:, 1].max((1, 2)), rtol=1e-5, atol=1e-5)
    assert subject.info.revision != build("mixed", loaded(), CPU).info.revision
    assert isinstance(subject, NetworkClassifier)
    for unit in (Unit("fc@probe", 0), Unit("logits", 0)):
        with pytest.raises(InvalidRequestError) as caught:
            subject.classify([subject.prepare(pictures[0])], Ablation(unit))
        assert caught.value.reason == "UNIT_NOT_ABLATABLE"


def test_a_lower_precision_is_said_and_measured(subject: NetworkSubject, pictures: list[Rgb]) -> None:
    low = build("mixed", loaded(), dataclasses.replace(CPU, precision=Precision.BFLOAT16))
    assert low.info.precision == "bfloat16"
    units = [Unit("fc", 1), Unit("probabilities", 0), Unit("conv", 2)]
    found, expected = (measure(one, pictures, units).activations for one in (low, subject))
    np.testing.assert_allclose(found, expected, rtol=0.1, atol=0.1)
    assert not np.array_equal(found, expected)


def test_the_revision_follows_all_that_an_answer_depends_on() -> None:
    other = loaded()
    with torch.no_grad():
        other.module.get_submodule("fc").weight[0, 0] += 1e-3  # type: ignore[index,operator]
    revisions = [
        build("a", loaded(), CPU).info.revision,
        build("a", other, CPU).info.revision,
        build("a", dataclasses.replace(loaded(), preparation=Preprocessing(37, 32)), CPU).info.revision,
        build("a", dataclasses.replace(loaded(), origin="test 2"), CPU).info.revision,
        build("a", loaded(), dataclasses.replace(CPU, precision=Precision.FLOAT16)).info.revision,
    ]
    assert len(set(revisions)) == len(revisions)
    assert build("b", loaded(), CPU).info.revision == revisions[0]
