from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.type.v1 import type_pb2
from maia.wire.errors import InvalidRequestError
from maia.wire.maps import Frame, darken, map_from_proto, map_to_proto, mask_from_proto, mask_to_proto, masked_pixels

SIDES = st.integers(1, 40)


@given(SIDES, SIDES, st.integers(0, 2**32 - 1))
def test_masks_cross_the_wire(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    message = mask_to_proto(mask)
    assert len(message.bits) == (height * width + 7) // 8
    assert np.array_equal(mask_from_proto(message), mask)


@given(SIDES, SIDES, st.integers(0, 2**32 - 1))
def test_maps_cross_the_wire(height: int, width: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(0, 100, (height, width)).astype(np.float16)
    assert np.array_equal(map_from_proto(map_to_proto(values)), values)


def test_the_bit_order_is_the_contracts() -> None:
    mask = np.array([[True, False, False], [False, False, False], [False, False, True]])
    assert mask_to_proto(mask).bits == bytes([0b10000000, 0b10000000])
    assert map_to_proto(np.array([[1.0, -2.0]])).values == bytes([0x00, 0x3C, 0x00, 0xC0])


def test_a_map_beyond_half_precision_stays_finite() -> None:
    assert map_from_proto(map_to_proto(np.array([[1e6, -1e6]], np.float32))).tolist() == [[65504.0, -65504.0]]


@pytest.mark.parametrize(
    ("height", "width", "size"), [(2, 2, 7), (0, 4, 0), (5000, 1, 10_000), (2**32 - 1, 2**32 - 1, 8)]
)
def test_a_malformed_map_is_refused(height: int, width: int, size: int) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        map_from_proto(type_pb2.ActivationMap(height=height, width=width, values=bytes(size)))
    assert caught.value.reason == "MAP_MALFORMED"


@pytest.mark.parametrize(("height", "width", "size"), [(3, 3, 1), (0, 8, 0), (2**31, 2**31, 8)])
def test_a_malformed_mask_is_refused(height: int, width: int, size: int) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        mask_from_proto(type_pb2.Mask(height=height, width=width, bits=bytes(size)), index=3)
    assert caught.value.reason == "MASK_MISMATCHED"
    assert caught.value.metadata["index"] == "3"


@pytest.mark.parametrize("sides", [(0, 0, 0, 5), (0, 5, 5, 0), (float("nan"), 0, 1, 1), (0, 0, float("inf"), 1)])
def test_an_empty_or_endless_frame_is_refused(sides: tuple[float, float, float, float]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Frame.from_proto(type_pb2.Frame(left=sides[0], top=sides[1], right=sides[2], bottom=sides[3]))
    assert caught.value.reason == "FRAME_MALFORMED"


def test_the_centre_square_is_what_resize_and_crop_leave() -> None:
    assert Frame.centre_square(300, 200) == Frame(50, 0, 250, 200)
    assert Frame.centre_square(200, 301) == Frame(0, 50.5, 200, 250.5)
    assert Frame.from_proto(Frame.whole(3, 4).to_proto()) == Frame(0, 0, 3, 4)


@pytest.mark.parametrize(("cells", "side"), [(7, 224), (28, 224), (1, 9), (10, 5), (3, 3)])
def test_upsampling_is_torch_s(cells: int, side: int) -> None:
    torch = pytest.importorskip("torch", reason="the demo extra is not installed")
    values = np.random.default_rng(cells).normal(0, 1, (cells, cells + 2)).astype(np.float16)
    source = torch.from_numpy(values.astype(np.float32))[None, None]
    upsampled = torch.nn.functional.interpolate(source, (side, side + 3), mode="bilinear", align_corners=False)
    mask = masked_pixels((side, side + 3), values, Frame.whole(side + 3, side), 0.1)
    disputed = np.abs(upsampled[0, 0].numpy() - 0.1) > 1e-5
    assert np.array_equal(mask[disputed], (upsampled[0, 0].numpy() > 0.1)[disputed])


def test_a_flat_map_fills_exactly_its_frame() -> None:
    mask = masked_pixels((100, 200), np.ones((7, 7), np.float16), Frame.centre_square(200, 100), 0.5)
    assert mask[:, 50:150].all()
    assert mask.sum() == 100 * 100


def test_a_pixel_is_in_a_frame_by_its_centre() -> None:
    mask = masked_pixels((1, 6), np.ones((1, 1)), Frame(1.4, 0, 4.6, 1), 0.5)
    assert mask[0].tolist() == [False, True, True, True, True, False]
    mask = masked_pixels((1, 6), np.ones((1, 1)), Frame(1.6, 0, 4.4, 1), 0.5)
    assert mask[0].tolist() == [False, False, True, True, False, False]


def test_a_frame_may_reach_beyond_the_picture() -> None:
    assert masked_pixels((4, 4), np.ones((2, 2)), Frame(-10, -10, 20, 20), 0.5).all()
    assert not masked_pixels((4, 4), np.ones((2, 2)), Frame(10, 10, 20, 20), 0.5).any()


def test_the_threshold_itself_is_outside() -> None:
    assert not masked_pixels((4, 4), np.ones((2, 2)), Frame.whole(4, 4), 1.0).any()


@pytest.mark.parametrize("side", [100, 231, 333])
def test_a_flat_map_is_nowhere_above_its_own_value(side: int) -> None:
    flat = np.full((28, 28), 6.5, np.float16)
    assert not masked_pixels((side, side + 7), flat, Frame.whole(side + 7, side), 6.5).any()


def test_darkening_leaves_a_quarter_outside() -> None:
    rgb = np.full((2, 2, 3), 200, np.uint8)
    mask = np.array([[True, False], [False, True]])
    assert darken(rgb, mask)[..., 0].tolist() == [[200, 50], [50, 200]]
    assert rgb.min() == 200
