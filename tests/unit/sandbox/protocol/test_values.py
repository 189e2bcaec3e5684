"""The value codec: what goes in comes out, and nothing else gets through."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ProtocolError
from maia.sandbox.protocol.frames import decode
from maia.sandbox.protocol.types import ImageRef, Namespace
from maia.sandbox.protocol.values import (
    DTYPES,
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_ITEMS,
    MAX_SAME_HASH,
    MAX_TEXT_BYTES,
    decode_call,
    decode_value,
    encode_call,
    encode_value,
)

KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**300), max_value=10**300)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.builds(ImageRef, st.text(min_size=1, max_size=20), st.integers(1, 16384), st.integers(1, 16384))
    | st.builds(Namespace, st.text()),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner),
    max_leaves=30,
)


def roundtrip(value: object) -> object:
    message = pb.Value()
    message.ParseFromString(encode_value(value).SerializeToString())
    return decode_value(message)


@given(VALUES)
def test_every_value_comes_back_with_its_types(value: object) -> None:
    assert repr(roundtrip(value)) == repr(value)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_value_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        decode_value(decode(data, pb.Value))


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_arrays_keep_dtype_shape_and_content(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype=dtype)
    back = roundtrip(array)
    assert isinstance(back, np.ndarray)
    assert back.dtype.str == dtype
    assert np.array_equal(back, array)
    assert back.shape == shape
    assert back.flags.writeable


def test_a_transposed_big_endian_array_arrives_as_it_reads() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    assert np.array_equal(np.asarray(roundtrip(array)), array)


def test_numpy_scalars_become_plain_numbers() -> None:
    assert roundtrip([np.float32(0.5), np.int64(3), np.bool_(1)]) == [0.5, 3, True]


def test_a_number_longer_than_pythons_float_is_shortened() -> None:
    assert roundtrip([np.longdouble(0.5)]) == [0.5]


def test_nan_and_infinities_survive() -> None:
    back = roundtrip([math.nan, math.inf, -math.inf])
    assert repr(back) == "[nan, inf, -inf]"


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (object(), "object"),
        ({1, 2}, "set"),
        (np.array(["a"]), "dtype"),
        (np.array([object()]), "dtype"),
        (1j, "complex"),
    ],
)
def test_a_type_that_cannot_travel_is_named(value: object, named: str) -> None:
    with pytest.raises(ProtocolError, match=named):
        encode_value([value])


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ProtocolError, match="surrogate"):
        encode_value("\ud800")


def test_too_deep_and_too_many_are_refused_on_both_sides() -> None:
    deep: object = 1
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(ProtocolError, match="deeper"):
        encode_value(deep)
    message = pb.Value(integer=1)
    for _ in range(MAX_DEPTH + 1):
        message = pb.Value(list=pb.Sequence(items=[message]))
    with pytest.raises(ProtocolError, match="deeper"):
        decode_value(message)
    with pytest.raises(ProtocolError, match="more than"):
        encode_value([0] * MAX_ITEMS)
    many = pb.Value(list=pb.Sequence(items=[pb.Value(boolean=True)] * MAX_ITEMS))
    with pytest.raises(ProtocolError, match="more than"):
        decode_value(many)


def test_the_arguments_of_a_call_share_its_bounds() -> None:
    half = [True] * (MAX_ITEMS // 2)
    arguments, keywords = encode_call([half], {"a": None})
    assert decode_call(arguments, keywords) == ([half], {"a": None})
    with pytest.raises(ProtocolError, match="more than"):
        encode_call([half], {"a": half})
    with pytest.raises(ProtocolError, match="more than"):
        decode_call(arguments, {"a": arguments[0]})


def test_long_integers_count_by_the_time_that_they_take() -> None:
    longest = 10**MAX_DIGITS - 1
    assert roundtrip([longest] * 190) == [longest] * 190
    with pytest.raises(ProtocolError, match="more than"):
        encode_value([longest] * 200)
    with pytest.raises(ProtocolError, match="more than"):
        decode_value(pb.Value(list=pb.Sequence(items=[pb.Value(big_integer="9" * MAX_DIGITS)] * 200)))


def test_text_is_bounded_by_its_bytes() -> None:
    assert roundtrip("x" * MAX_TEXT_BYTES) == "x" * MAX_TEXT_BYTES
    too_long = ["x", "é" * (MAX_TEXT_BYTES // 2)]
    with pytest.raises(ProtocolError, match="pass bytes instead"):
        encode_value(too_long)
    with pytest.raises(ProtocolError, match="pass bytes instead"):
        decode_value(pb.Value(list=pb.Sequence(items=[pb.Value(text=text) for text in too_long])))


def test_the_deepest_value_allowed_fits_a_tool_call() -> None:
    deep: object = 1
    for _ in range(MAX_DEPTH):
        deep = {"k": deep}
    call = pb.GuestFrame(tool_call=pb.ToolCall(call_id=1, name="t", arguments=[encode_value(deep)]))
    assert decode_value(decode(call.SerializeToString(), pb.GuestFrame).tool_call.arguments[0]) == deep


@pytest.mark.parametrize(
    "message",
    [
        pb.Value(),
        pb.Value(array=pb.Array(dtype="|O", shape=[1], data=b"12345678")),
        pb.Value(array=pb.Array(dtype="<f4", shape=[2], data=b"1234")),
        pb.Value(array=pb.Array(dtype="<f4", shape=[0, 2**63], data=b"")),
        pb.Value(array=pb.Array(dtype="<f4", shape=[1] * 40, data=b"1234")),
        pb.Value(pixels=pb.Pixels(mode="P", width=1, height=1, data=b"1")),
        pb.Value(pixels=pb.Pixels(mode="RGB", width=2, height=1, data=b"123")),
        pb.Value(pixels=pb.Pixels(mode="L", width=2**31, height=1, data=b"")),
        pb.Value(pixels=pb.Pixels(mode="L", width=0, height=0, data=b"")),
        pb.Value(image=pb.ImageRef(id="", width=1, height=1)),
        pb.Value(image=pb.ImageRef(id="x" * 201, width=1, height=1)),
        pb.Value(big_integer="1e5"),
        pb.Value(big_integer="9" * 5000),
        pb.Value(big_integer="٣"),
        pb.Value(map=pb.Mapping(entries=[pb.MapEntry(value=pb.Value(integer=1))])),
        pb.Value(map=pb.Mapping(entries=[pb.MapEntry(key=pb.Value(list=pb.Sequence()), value=pb.Value(integer=1))])),
    ],
)
def test_a_malformed_value_is_refused(message: pb.Value) -> None:
    with pytest.raises(ProtocolError):
        decode_value(message)


LEAVES = st.one_of(
    st.just(pb.Value()),
    st.just(pb.Value(null=pb.Null())),
    st.builds(pb.Value, boolean=st.booleans()),
    st.builds(pb.Value, integer=st.integers(-(2**63), 2**63 - 1)),
    st.builds(pb.Value, big_integer=st.text("-0123456789e. ²٣", max_size=40)),
    st.builds(pb.Value, real=st.floats()),
    st.builds(pb.Value, text=st.text(max_size=20)),
    st.builds(pb.Value, data=st.binary(max_size=20)),
    st.builds(pb.Value, namespace=st.text(max_size=20)),
    st.builds(pb.ImageRef, id=st.text(max_size=300), width=st.integers(0, 2**32 - 1), height=st.integers(0, 20000)).map(
        lambda image: pb.Value(image=image)
    ),
    st.builds(
        pb.Pixels,
        mode=st.sampled_from(["L", "RGB", "RGBA", "P", "1", "", "rgb"]),
        width=st.integers(0, 3),
        height=st.integers(0, 3),
        data=st.binary(max_size=36),
    ).map(lambda pixels: pb.Value(pixels=pixels)),
    st.builds(
        pb.Array,
        dtype=st.sampled_from([*sorted(DTYPES), "|O", "<U1", ">f4", "V8", "f4", "<f4,<f4", ""]),
        shape=st.lists(st.sampled_from([0, 1, 2, 3, 2**32, 2**64 - 1]), max_size=17),
        data=st.binary(max_size=40),
    ).map(lambda array: pb.Value(array=array)),
)


def _containers(inner: st.SearchStrategy[pb.Value]) -> st.SearchStrategy[pb.Value]:
    entries = st.lists(st.builds(pb.MapEntry, key=inner, value=inner), max_size=4)
    items = st.lists(inner, max_size=4)
    return (
        items.map(lambda found: pb.Value(list=pb.Sequence(items=found)))
        | items.map(lambda found: pb.Value(tuple=pb.Sequence(items=found)))
        | entries.map(lambda found: pb.Value(map=pb.Mapping(entries=found)))
    )


@given(st.recursive(LEAVES, _containers, max_leaves=20))
def test_any_message_is_a_value_that_can_be_sent_back_or_a_protocol_error(message: pb.Value) -> None:
    try:
        value = decode_value(message)
    except ProtocolError:
        return
    assert repr(roundtrip(value)) == repr(value)


SIDES = st.sampled_from([0, 1, 2, 7, 2**20, 2**39, 2**40, 2**63])


@given(st.sampled_from(sorted(DTYPES)), st.lists(SIDES, max_size=17))
def test_no_shape_gets_past_the_checks_into_numpys(dtype: str, shape: list[int]) -> None:
    size = math.prod(shape) * int(dtype[2:])
    message = pb.Value(array=pb.Array(dtype=dtype, shape=shape, data=bytes(size if size < 1000 else 0)))
    with contextlib.suppress(ProtocolError):
        array = decode_value(message)
        assert isinstance(array, np.ndarray)
        assert array.shape == tuple(shape)


def test_keys_made_to_share_a_hash_are_refused() -> None:
    keys = [(2**61 - 1) * factor for factor in range(MAX_SAME_HASH + 1)]
    assert len(set(map(hash, keys))) == 1
    assert decode_value(encode_value(dict.fromkeys(keys[1:]))) == dict.fromkeys(keys[1:])
    with pytest.raises(ProtocolError, match="same hash"):
        decode_value(encode_value(dict.fromkeys(keys)))
