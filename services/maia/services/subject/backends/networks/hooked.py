"""A network whose layers can be read and changed while it runs.

A pass serves any number of layers and stops as soon as the last of them has answered. Hooks stand only on the layers
of the pass that runs: those of a network that nobody asks would cost it time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from maia.services._runtime.float32 import calculate_float32_fully
from maia.services._runtime.memory import is_out_of_memory
from maia.services.subject.backends.networks.options import Precision
from maia.services.subject.backends.networks.outputs import first_tensor, with_first_tensor
from maia.services.subject.backends.networks.tracing import BATCH, Trace, Traced, trace
from maia.wire.errors import PreconditionError

DTYPES: Final = {
    Precision.FLOAT32: torch.float32,
    Precision.BFLOAT16: torch.bfloat16,
    Precision.FLOAT16: torch.float16,
}


class _Enough(Exception):  # noqa: N818  (no error: the last layer asked for has answered)
    """Leaves a pass."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass left.

    Attributes:
        layers: By name, what each layer returned, in the network's precision. Each tensor owns its memory alone.
        output: Of the network; None if the pass was stopped.
    """

    layers: dict[str, Tensor]
    output: Tensor | None


class HookedNetwork:
    """A frozen network. Used by one thread at a time.

    Args:
        module: Takes a batch as its first argument; becomes part of this object and is cast and moved.
        side: Of its square input, in pixels.
        device: To run on.
        precision: Of weights and pass. After float32, nothing in this process calculates float32 in fewer bits.

    Raises:
        PreconditionError: NETWORK_UNUSABLE: it does not run on pictures of this size, or none of its modules returns
            maps.
        Exception: As `is_out_of_memory` knows it: it does not fit the device.
    """

    def __init__(self, module: nn.Module, side: int, *, device: torch.device, precision: Precision) -> None:
        if precision is Precision.FLOAT32:
            calculate_float32_fully()
        self.device = device
        self._dtype = DTYPES[precision]
        self._module = module.eval().requires_grad_(requires_grad=False).to(device, self._dtype)
        self._format, self._trace = self._dry_run(side)
        if not self._trace.layers:
            raise _unusable("none of its modules returns maps")

    @property
    def trace(self) -> Trace:
        """Its layers and its output."""
        return self._trace

    @property
    def nbytes(self) -> int:
        """Of its weights and buffers."""
        return sum(tensor.nbytes for tensor in (*self._module.parameters(), *self._module.buffers()))

    @torch.inference_mode()
    def look(self, batch: Tensor, names: Collection[str], *, whole: bool) -> Pass:
        """Run once.

        Args:
            batch: float32, (pictures, 3, side, side), on the network's device.
            names: Of layers.
            whole: Go on to the network's output.
        """
        last = None if whole else max(names, key=lambda name: self._trace.layers[name].place)
        captured: dict[str, Tensor] = {}
        hooks = [
            self._hook(name, _capture(name, captured, self._trace.layers[name], last=last == name)) for name in names
        ]
        output = None
        try:
            output = first_tensor(self._module(self._taken(batch)))
        except _Enough:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return Pass(captured, output)

    @torch.inference_mode()
    def output(
        self, batch: Tensor, changed: str | None = None, change: Callable[[Tensor], None] | None = None
    ) -> Tensor:
        """Run to the end, with one layer changed on the way.

        Args:
            batch: As for `look`.
            changed: The layer's name, if one is to be changed.
            change: Changes a copy of what the layer returned, in place.
        """
        hook = None
        if changed is not None and change is not None:
            hook = self._hook(changed, _substitute(self._trace.layers[changed], change))
        try:
            output = first_tensor(self._module(self._taken(batch)))
        finally:
            if hook is not None:
                hook.remove()
        assert output is not None, "a network without an output is no classifier"
        return output

    def _taken(self, batch: Tensor) -> Tensor:
        return batch.to(self._dtype).contiguous(memory_format=self._format)

    def _hook(self, name: str, hook: Callable[..., object]) -> torch.utils.hooks.RemovableHandle:
        return self._module.get_submodule(name).register_forward_hook(hook)

    def _dry_run(self, side: int) -> tuple[torch.memory_format, Trace]:
        """Find the layers, in the faster memory format if the network bears it."""
        blank = torch.zeros((BATCH, 3, side, side), device=self.device)
        # Convolutions are faster with channels last, but some networks take their maps apart with `view`, which needs
        # the plain order.
        failed: Exception | None = None
        for order in (torch.channels_last, torch.contiguous_format):
            self._format = order
            try:
                self._module.to(memory_format=order)  # type: ignore[call-overload]
                return order, trace(self._module, self._taken(blank))
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                failed = error  # whatever a stranger's network raises, it may run in the other order
        raise _unusable(f"a dry run failed: {type(failed).__name__}: {failed}") from failed


def _capture(name: str, captured: dict[str, Tensor], layer: Traced, *, last: bool) -> Callable[..., None]:
    """A hook that keeps what the last call returned, and ends the pass if nothing more is wanted."""
    calls = 0

    def hook(_module: nn.Module, _inputs: Any, output: object) -> None:  # noqa: ANN401
        nonlocal calls
        calls += 1
        if calls < layer.calls:
            return
        tensor = first_tensor(output)
        assert tensor is not None
        captured[name] = _owned(tensor, copied=layer.overwritten and not last)
        if last:
            raise _Enough

    return hook


def _substitute(layer: Traced, change: Callable[[Tensor], None]) -> Callable[..., object]:
    """A hook that returns a changed copy of what the last call returned."""
    calls = 0

    def hook(_module: nn.Module, _inputs: Any, output: object) -> object:  # noqa: ANN401
        nonlocal calls
        calls += 1
        tensor = first_tensor(output)
        if calls < layer.calls or tensor is None:
            return None
        copy = tensor.clone()
        change(copy)
        return with_first_tensor(output, copy)

    return hook


def _owned(tensor: Tensor, *, copied: bool) -> Tensor:
    """The tensor, or a copy if it is to be written into or would keep more memory than its own alive."""
    shared = tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size()
    return tensor.clone(memory_format=torch.contiguous_format) if copied or shared else tensor


def _unusable(why: str) -> PreconditionError:
    return PreconditionError(f"the network cannot be studied: {why:.600}", reason="NETWORK_UNUSABLE")


def choose_device(name: str) -> torch.device:
    """Return a device.

    Args:
        name: As PyTorch names it, or "auto".

    Raises:
        PreconditionError: DEVICE_UNAVAILABLE.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise _no_device(name, error) from error
    return device


def _no_device(name: str, error: Exception) -> PreconditionError:
    return PreconditionError(
        f"there is no device {name!r:.50} here: {str(error).splitlines()[0]:.200}",
        reason="DEVICE_UNAVAILABLE",
        metadata={"device": name},
    )
