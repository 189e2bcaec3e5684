"""Files of weights: read without running anything in them, put into a network, and named by their contents."""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from maia.services.subject.backends.networks.failures import weights_unusable

_NESTED: Final = ("state_dict", "model", "model_state_dict", "teacher")
_PREFIXES: Final = ("module.", "_orig_mod.")  # left by DataParallel and torch.compile
_NO_WEIGHTS: Final = frozenset({"input_resolution", "context_length", "vocab_size"})  # numbers in OpenAI's archives


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict: safetensors, a checkpoint of PyTorch, or a TorchScript archive such as OpenAI's.

    Raises:
        PreconditionError: WEIGHTS_UNUSABLE: it is absent, damaged, or needs code to be run.
    """
    if not path.is_file():
        raise weights_unusable(path, "there is no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: object = load_file(path)
        elif _is_archive(path):
            state = _archived(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise weights_unusable(
            path, "it holds more than tensors, and reading that would run code of its author's; save a state dict"
        ) from error
    except Exception as error:  # readers raise whatever a malformed file makes them raise
        raise weights_unusable(path, f"it is damaged ({type(error).__name__}: {error})") from error
    return _plain(state, path)


def put(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into a network.

    Args:
        module: Gets them; keeps its own precision.
        state: Must have every weight of the module in its shape, and no other.
        path: Where they are from, for the error.

    Raises:
        PreconditionError: WEIGHTS_UNUSABLE: they are another network's.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise weights_unusable(path, f"they are of another network: {error}") from error


def class_count(module: nn.Module, state: Mapping[str, Tensor]) -> int | None:
    """Return how many classes weights tell apart, if they differ from a network in nothing but that; None otherwise.

    Args:
        module: A classifier.
        state: Weights of the same network, trained on perhaps other classes.
    """
    own = module.state_dict()
    different = {name for name, tensor in own.items() if name in state and state[name].shape != tensor.shape}
    rows = {len(state[name]) if state[name].ndim else 0 for name in different}
    tails = all(own[name].shape[1:] == state[name].shape[1:] for name in different)
    return rows.pop() if len(rows) == 1 and tails else None


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return 16 hexadecimal digits that change with any name, shape, type or number.

    A checksum of each tensor's bytes (CRC-32, some gigabytes a second) stands for the tensor: this tells files apart
    that differ by training or by accident, and is no proof against forgery.
    """
    whole = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        checksum = zlib.crc32(flat.view(torch.uint8).numpy().data) if flat.numel() else 0
        whole.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} {checksum}\n".encode())
    return whole.hexdigest()[:16]


def _is_archive(path: Path) -> bool:
    """Whether a file is TorchScript, whose numbers `torch.load` does not read by themselves."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _archived(path: Path) -> object:
    with warnings.catch_warnings():
        # Deprecated for making such files; nothing else reads those that are published.
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(path, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]


def _plain(state: object, path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by the names that the network's own code gives them."""
    for key in _NESTED:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
            break
    if not isinstance(state, Mapping):
        raise weights_unusable(path, f"it holds a {type(state).__name__} instead of a state dict")
    plain = {str(name): value for name, value in state.items() if name not in _NO_WEIGHTS}
    if not plain or not all(isinstance(value, Tensor) for value in plain.values()):
        raise weights_unusable(path, "it holds something other than tensors by their names")
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in plain):
            plain = {name.removeprefix(prefix): value for name, value in plain.items()}
    return plain
