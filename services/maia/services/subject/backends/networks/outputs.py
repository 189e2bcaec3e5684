"""The tensor in what a module returns, which may be a tuple or one of transformers' outputs."""

from __future__ import annotations

import copy
from collections.abc import MutableMapping

from torch import Tensor


def first_tensor(output: object) -> Tensor | None:
    """Return the first tensor of a module's output, or None if it has none at its top."""
    if isinstance(output, Tensor):
        return output
    values = (
        output.values() if isinstance(output, MutableMapping) else output if isinstance(output, tuple | list) else ()
    )
    return next((value for value in values if isinstance(value, Tensor)), None)


def with_first_tensor(output: object, tensor: Tensor) -> object:
    """Return an output with another first tensor; the output itself stays as it is.

    Args:
        output: One in which `first_tensor` finds a tensor.
        tensor: To stand in its place.
    """
    if isinstance(output, MutableMapping):
        changed = copy.copy(output)
        changed[next(key for key, value in output.items() if isinstance(value, Tensor))] = tensor
        return changed
    if isinstance(output, tuple | list):
        place = next(place for place, value in enumerate(output) if isinstance(value, Tensor))
        values = [*output[:place], tensor, *output[place + 1 :]]
        return type(output)._make(values) if hasattr(output, "_make") else type(output)(values)  # a named tuple
    return tensor
