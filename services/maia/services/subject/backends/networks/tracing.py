"""Which modules of a network are layers: learnt from one dry run, not from names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from maia.services.subject.backends.networks.layout import Form, Layout, find_layout
from maia.services.subject.backends.networks.outputs import first_tensor

BATCH = 2
"""Pictures in a dry run: more than one tells the axis of the batch from the others."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A module whose output can be read as maps.

    Attributes:
        layout: How to read its output.
        calls: How often one pass calls it; its output is that of the last call.
        place: Of that call's end among the ends of all calls: a pass that needs no later place may stop there.
        overwritten: Whether the pass goes on to write into that output, so that to keep it is to copy it.
    """

    layout: Layout
    calls: int
    place: int
    overwritten: bool


@dataclass(frozen=True, slots=True)
class Trace:
    """What a dry run found.

    Attributes:
        layers: By dotted name, in the order in which their last calls end.
        outputs: Numbers in the network's output for one picture, if that is one vector.
    """

    layers: Mapping[str, Traced]
    outputs: int | None


@dataclass(slots=True)
class _Seen:
    """The calls of one module so far; the tensor is of the last one, and `version` counts the writes into it."""

    calls: int = 0
    place: int = 0
    output: Tensor | None = None
    version: int = 0
    grid: tuple[int, int] | None = None


@dataclass(slots=True)
class _Recorder:
    """Hears the end of every call of every module."""

    seen: dict[str, _Seen] = field(default_factory=dict)
    ended: int = 0
    grid: tuple[int, int] | None = None

    def hear(self, name: str, module: nn.Module, output: object) -> None:
        tensor = first_tensor(output)
        self.ended += 1
        if isinstance(module, nn.Conv2d) and tensor is not None and tensor.ndim == 4 and tensor[0, 0].numel() > 1:
            self.grid = (tensor.shape[2], tensor.shape[3])
        one = self.seen.setdefault(name, _Seen())
        one.calls += 1
        one.place = self.ended
        one.output, one.version = tensor, 0 if tensor is None else tensor._version  # noqa: SLF001  (has no other name)
        one.grid = self.grid


def trace(module: nn.Module, batch: Tensor) -> Trace:
    """Run a network once and return what it consists of.

    Args:
        module: In eval mode, with no parameter that requires a gradient.
        batch: Of `BATCH` pictures.
    """
    recorder = _Recorder()
    modules = {name: part for name, part in module.named_modules() if name}
    hooks = [
        part.register_forward_hook(lambda part, _, output, name=name: recorder.hear(name, part, output))
        for name, part in modules.items()
    ]
    try:
        # Not in inference mode, whose tensors do not count the writes into them.
        with torch.no_grad():
            output = first_tensor(module(batch))
    finally:
        for hook in hooks:
            hook.remove()
    layers: dict[str, Traced] = {}
    for name, one in sorted(recorder.seen.items(), key=lambda item: item[1].place):
        if one.output is None:
            continue
        layout = find_layout(one.output, modules[name], len(batch), one.grid)
        if layout is not None:
            overwritten = one.output._version > one.version  # noqa: SLF001
            layers[name] = Traced(layout, one.calls, one.place, overwritten)
    whole = None if output is None else find_layout(output, module, len(batch), None)
    return Trace(layers, whole.units if whole is not None and whole.form is Form.VECTOR else None)
