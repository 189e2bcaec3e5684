from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from maia.services.subject.backends.networks.layout import Form, Layout, find_layout


def numbered(*shape: int) -> Tensor:
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape)


@pytest.mark.parametrize(
    ("layout", "shape", "index"),
    [
        (Layout(Form.MAP, 5, 2, 3), (2, 5, 2, 3), lambda x, r, u: x[r, u]),
        (Layout(Form.MAP_LAST, 5, 2, 3), (2, 2, 3, 5), lambda x, r, u: x[r, :, :, u]),
        (Layout(Form.TOKENS, 5, 2, 3, 1), (2, 7, 5), lambda x, r, u: x[r, 1:, u].reshape(2, 3)),
        (Layout(Form.TOKENS_FIRST, 5, 2, 3, 2), (8, 2, 5), lambda x, r, u: x[2:, r, u].reshape(2, 3)),
        (Layout(Form.VECTOR, 5), (2, 5), lambda x, r, u: x[r, u].reshape(1, 1)),
    ],
)
def test_reads_and_holds_the_units_asked_for(layout: Layout, shape: tuple[int, ...], index: object) -> None:
    assert callable(index)
    output = numbered(*shape)
    maps = layout.maps(output, 1, [4, 0, 4])
    assert maps.shape == (3, layout.height, layout.width)
    for place, unit in enumerate([4, 0, 4]):
        torch.testing.assert_close(maps[place], index(output, 1, unit), rtol=0, atol=0)
    torch.testing.assert_close(layout.maps(output, 1)[[4, 0, 4]], maps, rtol=0, atol=0)

    held = output.clone()
    layout.hold(held, 3, -7.0)
    assert (layout.maps(held, 0, [3]) == -7).all()
    changed = held != output
    assert int(changed.sum()) == 2 * layout.height * layout.width  # and no prefix token, no other unit


@pytest.mark.parametrize(
    ("shape", "module", "grid", "expected"),
    [
        ((2, 8, 7, 7), nn.ReLU(), None, Layout(Form.MAP, 8, 7, 7)),
        ((2, 7, 7, 8), nn.Linear(1, 1), None, Layout(Form.MAP_LAST, 8, 7, 7)),
        ((2, 7, 7, 7), nn.LayerNorm(7), None, Layout(Form.MAP_LAST, 7, 7, 7)),
        ((2, 7, 7, 7), nn.Conv2d(7, 7, 1), None, Layout(Form.MAP, 7, 7, 7)),
        ((2, 8, 1, 7), nn.Conv2d(7, 7, 1), None, Layout(Form.MAP, 8, 1, 7)),
        ((2, 8, 5, 7), nn.Linear(7, 7), None, None),
        ((2, 17, 6), nn.Linear(1, 1), (4, 4), Layout(Form.TOKENS, 6, 4, 4, 1)),
        ((2, 21, 6), nn.Linear(1, 1), (4, 4), Layout(Form.TOKENS, 6, 4, 4, 5)),  # a class and four registers
        ((2, 16, 6), nn.Linear(1, 1), (4, 4), Layout(Form.TOKENS, 6, 4, 4, 0)),
        ((17, 2, 6), nn.Linear(1, 1), (4, 4), Layout(Form.TOKENS_FIRST, 6, 4, 4, 1)),
        ((2, 4, 6), nn.Linear(1, 1), (4, 4), Layout(Form.TOKENS, 6, 2, 2, 0)),  # patches merged without a convolution
        ((2, 1, 6), nn.Linear(1, 1), (4, 4), Layout(Form.TOKENS, 6, 1, 1, 0)),
        ((2, 7, 6), nn.Linear(1, 1), (4, 4), None),
        ((8, 49, 6), nn.Linear(1, 1), (14, 14), None),  # windows, four to a picture, folded into the batch
        ((2, 3, 17, 17), nn.Dropout(), (4, 4), None),  # the weights of an attention
        ((2, 9), nn.Linear(1, 1), None, Layout(Form.VECTOR, 9)),
        ((9, 2), nn.Linear(1, 1), None, None),
        ((2,), nn.Linear(1, 1), None, None),
        ((2, 0, 7, 7), nn.ReLU(), None, None),
        ((2, 3, 5000, 5000), nn.Conv2d(1, 1, 1), None, None),  # larger than a map may be on the wire
    ],
)
def test_finds_units_and_places(
    shape: tuple[int, ...], module: nn.Module, grid: tuple[int, int] | None, expected: Layout | None
) -> None:
    assert find_layout(torch.empty(shape, device="meta"), module, 2, grid) == expected


def test_numbers_that_are_no_activations_are_no_layer() -> None:
    assert find_layout(torch.zeros((2, 4, 3, 3), dtype=torch.int64), nn.Identity(), 2, None) is None
