from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from maia.services.subject.backends.networks.weights import class_count, digest, put, read_state
from maia.wire.errors import PreconditionError

STATE = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.ones(2)}


@pytest.mark.parametrize(
    "write",
    [
        lambda path: torch.save(STATE, path),
        lambda path: torch.save({"state_dict": STATE, "epoch": 3}, path),
        lambda path: torch.save({"model": STATE}, path),
        lambda path: torch.save({f"module.{name}": value for name, value in STATE.items()}, path),
    ],
)
def test_reads_checkpoints_in_their_usual_wrappings(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "x.pth")
    torch.testing.assert_close(read_state(tmp_path / "x.pth"), STATE)


def test_reads_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "x.safetensors")
    torch.testing.assert_close(read_state(tmp_path / "x.safetensors"), STATE)


def test_reads_archives_of_torchscript(tmp_path: Path) -> None:
    """As OpenAI published CLIP's; half the precision, and numbers beside the weights."""
    module = nn.Sequential(nn.Linear(3, 2)).half()
    module.register_buffer("context_length", torch.tensor(77))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated for making archives
        torch.jit.save(torch.jit.script(module), tmp_path / "x.pt")
    state = read_state(tmp_path / "x.pt")
    assert {name: value.dtype for name, value in state.items()} == {"0.weight": torch.half, "0.bias": torch.half}


class Malicious:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("was-here"),))


@pytest.mark.parametrize(
    ("name", "write", "text"),
    [
        ("absent.pth", lambda path: None, "no such file"),
        ("damaged.pth", lambda path: path.write_bytes(b"\x80\x05garbage"), "cannot be used"),
        ("damaged.safetensors", lambda path: path.write_bytes(b"garbage!"), "damaged"),
        ("empty.pth", lambda path: path.write_bytes(b""), "damaged"),
        ("list.pth", lambda path: torch.save([1, 2], path), "a list instead of a state dict"),
        ("mixed.pth", lambda path: torch.save({"a": 1}, path), "other than tensors"),
        ("code.pth", lambda path: torch.save({"a": Malicious()}, path), "would run code"),
        ("pickle.pth", lambda path: path.write_bytes(pickle.dumps(Malicious())), "cannot be used"),
    ],
)
def test_refuses_other_files_and_runs_nothing_in_them(
    name: str, write: Callable[[Path], object], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name)
    with pytest.raises(PreconditionError, match=text) as caught:
        read_state(tmp_path / name)
    assert caught.value.reason == "WEIGHTS_UNUSABLE"
    assert not (tmp_path / "was-here").exists()


def test_puts_weights_into_their_network_and_no_other() -> None:
    module = nn.Sequential(nn.Linear(3, 2))
    put(module, STATE, Path("x"))
    torch.testing.assert_close(dict(module.state_dict()), STATE)
    with pytest.raises(PreconditionError, match="of another network") as caught:
        put(nn.Sequential(nn.Linear(4, 2)), STATE, Path("x"))
    assert caught.value.reason == "WEIGHTS_UNUSABLE"


def test_counts_classes_only_where_nothing_else_differs() -> None:
    def network(width: int, classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(3, width), nn.Linear(width, classes))

    assert class_count(network(4, 10), network(4, 7).state_dict()) == 7
    assert class_count(network(4, 10), network(4, 10).state_dict()) is None
    assert class_count(network(4, 10), network(5, 10).state_dict()) is None


def test_a_digest_changes_with_every_number_name_shape_and_type() -> None:
    def changed(**tensors: Tensor) -> str:
        return digest({"a": torch.arange(1000.0), "b": torch.tensor(3)} | tensors)

    moved = torch.arange(1000.0)
    moved[[5, 6]] = moved[[6, 5]]
    nudged = torch.arange(1000.0)
    nudged[501] += 1e-4
    digests = [
        changed(),
        changed(a=moved),
        changed(a=nudged),
        changed(a=torch.arange(1000.0).reshape(10, 100)),
        changed(a=torch.arange(1000.0).half()),
        changed(b=torch.tensor(4)),
        changed(c=torch.empty(0)),
    ]
    assert len(set(digests)) == len(digests)
    assert changed(a=torch.arange(2000.0)[:1000]) == digests[0]
    assert digest({"a": torch.ones(2, dtype=torch.bfloat16)}) != digest({"a": torch.zeros(2, dtype=torch.bfloat16)})
