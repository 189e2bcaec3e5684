from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from maia.services.subject.backends.networks.directions import Directions, load
from maia.services.subject.backends.networks.options import DirectionsFile
from maia.wire.errors import PreconditionError

CHANNELS = {"layer1": 6, "layer2": 4}


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def unit_vectors(count: int, width: int) -> Tensor:
    return torch.nn.functional.normalize(random(count, width), dim=1)


def saved(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Directions:
    save_file(tensors, path / "concepts.safetensors", metadata or {"layer": "layer1"})
    return load(DirectionsFile(path / "concepts.safetensors"), CHANNELS)


def test_a_direction_is_a_product_with_the_channels(tmp_path: Path) -> None:
    vectors, maps = unit_vectors(9, 6), random(6, 3, 5)
    found = saved(tmp_path, {"directions": vectors})
    assert (found.layer, found.name, len(found.weights)) == ("layer1", "layer1@concepts", 9)
    expected = torch.einsum("dc,chw->dhw", vectors, maps)[[8, 0, 8]]
    torch.testing.assert_close(found.respond(maps, [8, 0, 8]), expected)
    assert (expected < 0).any()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("names", [("W_enc", "b_enc", "b_dec"), ("encoder.weight", "encoder.bias", "decoder.bias")])
def test_a_latent_is_encoded(names: tuple[str, str, str], centred: bool, turned: bool, tmp_path: Path) -> None:
    weights, bias, centre, maps = random(9, 6), random(9), random(6), random(6, 3, 5)
    tensors = {names[0]: (weights.T if turned else weights).contiguous(), names[1]: bias}
    if centred:
        tensors[names[2]] = centre
    values = maps - centre[:, None, None] if centred else maps
    expected = torch.relu(torch.einsum("lc,chw->lhw", weights, values) + bias[:, None, None])
    torch.testing.assert_close(saved(tmp_path, tensors).respond(maps, range(9)), expected, rtol=1e-5, atol=1e-5)
    assert (expected == 0).any()


def test_the_caller_names_layer_and_name_before_the_file(tmp_path: Path) -> None:
    metadata = {"layer": "layer1", "name": "mine"}
    assert saved(tmp_path, {"directions": unit_vectors(2, 6)}, metadata).name == "layer1@mine"
    save_file({"directions": unit_vectors(2, 4)}, tmp_path / "x.safetensors", metadata)
    found = load(DirectionsFile(tmp_path / "x.safetensors", "layer2", "theirs"), CHANNELS)
    assert (found.layer, found.name) == ("layer2", "layer2@theirs")


def test_the_revision_follows_the_contents(tmp_path: Path) -> None:
    first = saved(tmp_path, {"directions": unit_vectors(2, 6)}).revision
    assert saved(tmp_path, {"directions": unit_vectors(2, 6)}).revision == first
    assert saved(tmp_path, {"directions": -unit_vectors(2, 6)}).revision != first


@pytest.mark.parametrize(
    ("tensors", "metadata", "text"),
    [
        ({"directions": unit_vectors(2, 6)}, {"name": "x"}, "of which layer"),
        ({"directions": unit_vectors(2, 6)}, {"layer": "layer9"}, "no layer 'layer9'"),
        ({"directions": unit_vectors(2, 5)}, None, r"\(2, 5\) are no directions in the 6 channels of layer1"),
        ({"directions": 3 * unit_vectors(2, 6)}, None, "no unit vectors"),
        ({"other": random(2)}, None, r"it holds \['other'\]"),
        ({"W_enc": random(9, 6)}, None, "neither"),
        ({"W_enc": random(9, 5), "b_enc": random(9)}, None, "does not fit 6 channels"),
        ({"W_enc": random(9, 6), "b_enc": random(9), "b_dec": random(9)}, None, "decoder's bias"),
    ],
)
def test_refuses_what_does_not_fit(
    tensors: dict[str, Tensor], metadata: dict[str, str] | None, text: str, tmp_path: Path
) -> None:
    with pytest.raises(PreconditionError, match=text) as caught:
        saved(tmp_path, tensors, metadata)
    assert caught.value.reason == "DIRECTIONS_UNUSABLE"


@pytest.mark.parametrize("content", [None, b"", b"no safetensors at all"])
def test_refuses_a_file_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PreconditionError, match="cannot be read"):
        load(DirectionsFile(path, "layer1"), CHANNELS)
