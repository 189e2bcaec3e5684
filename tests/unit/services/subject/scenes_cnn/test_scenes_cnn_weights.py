"""Networks as files, and the revision that names them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from maia.services.subject.backends.scenes_cnn import weights
from maia.services.subject.backends.scenes_cnn.network import SceneNetwork
from maia.wire.errors import PreconditionError

CONCEPTS = ("red", "circle", "red circle")


def fresh(seed: int = 0) -> SceneNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SceneNetwork(len(CONCEPTS))


def test_a_file_restores_the_network_and_its_papers(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    network = fresh()
    revision = weights.save(path, network, CONCEPTS, {"seed": "7"})
    loaded = weights.load(path)
    assert loaded.revision == revision
    assert loaded.concepts == CONCEPTS
    assert loaded.training == {"seed": "7"}
    assert not loaded.network.training
    pixels = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        assert torch.equal(loaded.network(pixels), network.eval()(pixels))
    assert list(tmp_path.iterdir()) == [path]


def test_the_revision_changes_with_the_smallest_change_of_a_weight() -> None:
    tensors = {name: tensor.clone() for name, tensor in fresh().state_dict().items()}
    before = weights.revision_of(tensors)
    assert weights.revision_of(dict(reversed(tensors.items()))) == before
    bias = tensors["head.bias"]
    bias[0] = torch.nextafter(bias[0], torch.tensor(1.0))
    assert weights.revision_of(tensors) != before


def test_the_revision_depends_on_which_tensor_holds_a_value() -> None:
    one, two = torch.zeros(2), torch.ones(2)
    assert weights.revision_of({"a": one, "b": two}) != weights.revision_of({"a": two, "b": one})
    assert weights.revision_of({"a": one}) != weights.revision_of({"a": one.view(torch.int32)})


def test_refuses_a_file_whose_weights_are_not_those_of_its_revision(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    revision = weights.save(path, fresh(seed=1), CONCEPTS, {})
    tensors = load_file(path)
    tensors["head.bias"] += 1.0
    save_file(tensors, path, metadata={"concepts": '["red", "circle", "red circle"]', "revision": revision})
    with pytest.raises(PreconditionError, match=f"stated {revision}"):
        weights.load(path)


@pytest.mark.parametrize("content", [b"", b"no tensors in here", b"\xff" * 64])
def test_refuses_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(PreconditionError, match=r"cannot be read.*train"):
        weights.load(path)


def test_refuses_another_network(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata={"concepts": '["red"]', "revision": "0"})
    with pytest.raises(PreconditionError, match="another kind of network"):
        weights.load(path)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(PreconditionError, match="another kind of network"):
        weights.load(path)
