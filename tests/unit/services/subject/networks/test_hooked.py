"""Layers are found, read and changed as they are, whatever the network does with them afterwards."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from maia.services.subject.backends.networks.hooked import HookedNetwork, choose_device
from maia.services.subject.backends.networks.layout import Form, Layout
from maia.services.subject.backends.networks.options import Precision
from maia.services.subject.backends.networks.outputs import first_tensor, with_first_tensor
from maia.wire.errors import PreconditionError

SIDE = 8
CPU = torch.device("cpu")


def hooked(module: nn.Module, precision: Precision = Precision.FLOAT32) -> HookedNetwork:
    return HookedNetwork(module, SIDE, device=CPU, precision=precision)


def batch(count: int = 3) -> Tensor:
    return torch.randn((count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))


class Backwards(nn.Module):
    """Registers its layers in the order opposite to that in which it runs them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(6, 4)
        self.third = nn.Conv2d(5, 6, 3, padding=1)
        self.second = nn.Conv2d(4, 5, 3, padding=1)
        self.first = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.third(self.second(self.first(x))).mean((2, 3)))
        return logits


class Overwriting(nn.Module):
    """Writes into what its layers returned, as residual networks do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(x)))
        x += 1
        final: Tensor = self.last(x)
        return final


class Repeating(nn.Module):
    """Calls one module thrice, on maps of other widths."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.relu = nn.ReLU()
        self.a = nn.Conv2d(3, 4, 1)
        self.b = nn.Conv2d(4, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.b(self.relu(self.a(self.relu(x)))))
        return y


class Viewing(nn.Module):
    """Takes its maps apart with `view`, which cannot be done with channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(4 * SIDE * SIDE, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y: Tensor = self.head(x.view(len(x), -1))
        return y


class Tuples(nn.Module):
    """Layers that return tuples and dictionaries."""

    class Inner(nn.Module):
        def __init__(self, wrap: Callable[[Tensor], object]) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.wrap = wrap

        def forward(self, x: Tensor) -> object:
            return self.wrap(self.conv(x))

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pair = self.Inner(lambda x: (x, x.mean()))
        self.named = self.Inner(lambda x: OrderedDict(nothing=None, hidden=x))
        self.text = self.Inner(lambda x: "no tensor")

    def forward(self, x: Tensor) -> tuple[Tensor, str]:
        x = self.named(self.pair(x)[0])["hidden"]
        self.text(x)
        return x.mean((2, 3)), "and more"


def plain_hook(module: nn.Module, name: str, pictures: Tensor) -> Tensor:
    """What a forward hook sees at that moment, in the last call."""
    seen: list[Tensor] = []
    hook = module.get_submodule(name).register_forward_hook(
        lambda part, inputs, output: seen.append(first_tensor(output).clone())  # type: ignore[union-attr]
    )
    order = torch.contiguous_format if isinstance(module, Viewing) else torch.channels_last
    with torch.no_grad():
        module(pictures.contiguous(memory_format=order))
    hook.remove()
    return seen[-1]


@pytest.mark.parametrize("make", [Backwards, Overwriting, Repeating, Viewing, Tuples])
def test_captures_what_a_hook_sees(make: Callable[[], nn.Module]) -> None:
    module = make()
    network = hooked(module)
    names = list(network.trace.layers)
    together = network.look(batch(), names, whole=True)
    for name in names:
        expected = plain_hook(module, name, batch())
        alone = network.look(batch(), [name], whole=False)
        torch.testing.assert_close(together.layers[name], expected, rtol=0, atol=0)
        torch.testing.assert_close(alone.layers[name], expected, rtol=0, atol=0)
        assert alone.output is None
    assert together.output is not None


def test_layers_are_in_the_order_in_which_they_run() -> None:
    network = hooked(Backwards())
    assert list(network.trace.layers) == ["first", "second", "third", "head"]
    assert network.trace.outputs == 4


@pytest.mark.parametrize(
    ("names", "ran"),
    [
        (["first"], ["first"]),
        (["second", "first"], ["first", "second"]),
        (["head", "first"], ["first", "second", "third", "head"]),
    ],
)
def test_stops_after_the_deepest_layer(names: list[str], ran: list[str]) -> None:
    module = Backwards()
    network = hooked(module)
    called: list[str] = []
    for name in ("head", "third", "second", "first"):
        module.get_submodule(name).register_forward_pre_hook(lambda part, inputs, name=name: called.append(name))
    assert set(network.look(batch(), names, whole=False).layers) == set(names)
    assert called == ran


def test_knows_which_outputs_are_written_into_and_copies_only_those() -> None:
    network = hooked(Overwriting())
    assert {name for name, layer in network.trace.layers.items() if layer.overwritten} == {"norm", "relu"}
    held = network.look(batch(), ["norm", "relu"], whole=True).layers
    assert (held["norm"] < 0).any()
    assert held["relu"].min() == 0  # before the network added 1


def test_a_module_that_is_called_again_answers_with_its_last_call() -> None:
    network = hooked(Repeating())
    layer = network.trace.layers["relu"]
    assert (layer.calls, layer.layout) == (3, Layout(Form.MAP, 6, SIDE, SIDE))
    assert list(network.trace.layers) == ["a", "b", "relu"]


def test_a_part_of_a_larger_tensor_does_not_keep_the_rest_alive() -> None:
    class Slicing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cut = Cut()

        def forward(self, x: Tensor) -> Tensor:
            part: Tensor = self.cut(x.repeat(1, 10, 1, 1))
            return part.mean((2, 3))

    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, 3:5]

    captured = hooked(Slicing()).look(batch(), ["cut"], whole=False).layers["cut"]
    assert captured.untyped_storage().nbytes() == captured.numel() * 4


def test_leaves_no_hook_and_no_gradient_behind() -> None:
    module = Backwards()
    network = hooked(module)
    captured = network.look(batch(), ["second"], whole=False).layers["second"]
    with pytest.raises(RuntimeError):
        network.look(batch()[:, :2], ["second"], whole=False)
    assert captured.is_inference()
    assert not captured.requires_grad
    assert all(not part._forward_hooks for part in module.modules())


def test_a_network_that_needs_the_plain_memory_format_gets_it() -> None:
    assert list(hooked(Viewing()).trace.layers) == ["conv", "head"]


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
def test_runs_in_a_lower_precision(precision: Precision) -> None:
    full, low = hooked(Backwards()), hooked(Backwards(), precision)
    names = ["first", "head"]
    expected, found = (network.look(batch(), names, whole=True).layers for network in (full, low))
    for name in names:
        assert found[name].dtype is getattr(torch, precision.value)
        torch.testing.assert_close(found[name].float(), expected[name], rtol=0.05, atol=0.05)
        assert not torch.equal(found[name].float(), expected[name])


@pytest.mark.usefixtures("rounding_allowed")
@pytest.mark.parametrize(("precision", "allowed"), [(Precision.FLOAT32, False), (Precision.BFLOAT16, True)])
def test_float32_is_not_rounded_to_fewer_bits(precision: Precision, allowed: bool) -> None:
    hooked(Backwards(), precision)
    assert torch.backends.cudnn.allow_tf32 is allowed
    assert torch.backends.cuda.matmul.allow_tf32 is allowed


@pytest.mark.parametrize("name", ["pair", "named"])
def test_changes_a_layer_on_the_way(name: str) -> None:
    module = Tuples()
    network = hooked(module)

    def zero(tensor: Tensor) -> None:
        tensor[:, 1] = 0

    changed = network.output(batch(), name, zero)
    convs: dict[str, Any] = {part: module.get_submodule(part).conv for part in ("pair", "named")}
    with torch.no_grad():
        x = batch()
        for part, conv in convs.items():
            x = conv(x)
            if part == name:
                x = x * torch.tensor([1.0, 0.0, 1.0])[:, None, None]
    torch.testing.assert_close(changed, x.mean((2, 3)), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(changed, network.output(batch()))


def test_outputs_are_exchanged_without_touching_the_original() -> None:
    a, b = torch.zeros(1), torch.ones(1)
    for output in (a, (a, 1), [None, a], OrderedDict(x=None, y=a)):
        changed = with_first_tensor(output, b)
        assert type(changed) is type(output)
        assert first_tensor(changed) is b
        assert first_tensor(output) is a
    assert first_tensor("nothing") is None


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.Sequential(nn.Linear(3, 3)), "a dry run failed"),
        (nn.Sequential(nn.Flatten(0)), "none of its modules returns maps"),
    ],
)
def test_refuses_what_is_no_network_for_pictures(module: nn.Module, text: str) -> None:
    with pytest.raises(PreconditionError, match=text) as caught:
        hooked(module)
    assert caught.value.reason == "NETWORK_UNUSABLE"


@pytest.mark.parametrize("name", ["cuda:77", "abacus"])
def test_refuses_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(PreconditionError, match=name) as caught:
        choose_device(name)
    assert caught.value.reason == "DEVICE_UNAVAILABLE"


def test_chooses_a_device_that_is_there() -> None:
    assert torch.ones(1, device=choose_device("auto")).sum() == 1


@pytest.mark.parametrize("message", ["CUDA out of memory", "DefaultCPUAllocator: can't allocate memory"])
def test_a_network_that_does_not_fit_says_so_as_torch_does(message: str) -> None:
    """Whoever loads it can make room then; as a network that cannot be used it would be given up."""

    class Large(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match=message):
        hooked(Large())
