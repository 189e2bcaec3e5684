"""Arguments against type hints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pytest

from maia.sandbox import ImageRef, Namespace, Pixels, Tool, ToolError
from maia.sandbox.host.arguments import check_argument, check_hint

REF = ImageRef("a", 2, 2)
DOTS = Pixels("L", 2, 1, b"ab")


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (("a", "b"), list[str], ["a", "b"]),
        (["a"], Sequence[str], ["a"]),
        (["a", 1], tuple[str, int], ("a", 1)),
        ([1, 2], tuple[int, ...], (1, 2)),
        (3, float, 3.0),
        (3, int | float, 3),
        (None, str | None, None),
        ([[REF], DOTS], list[ImageRef | Pixels | list[ImageRef]], [[REF], DOTS]),
        ({"a": (1,)}, Mapping[str, list[int]], {"a": [1]}),
        ("x", Literal["x", "y"], "x"),
        (Namespace("system"), Namespace, Namespace("system")),
        (object, Any, object),
        (np.array([[0, 255]], np.uint8), Pixels, Pixels("L", 2, 1, b"\x00\xff")),
        (np.array([[[0.0, 0.5, 1.0]]]), Pixels, Pixels("RGB", 1, 1, b"\x00\x80\xff")),
        (np.array([[True, False]]), ImageRef | Pixels, Pixels("L", 2, 1, b"\xff\x00")),
    ],
)
def test_a_fitting_value_comes_as_the_hint_wants_it(value: object, hint: object, expected: object) -> None:
    check_hint(hint, "here")
    result = check_argument(value, hint, "here")
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        ("dogs", list[str], "here must be a list of str, not str"),
        (["a", 2], list[str], r"here\[1\] must be str, not int"),
        (["a", 2], str | list[str], r"here\[1\] must be str, not int"),
        (True, int, "here must be int, not bool"),
        (True, float, "here must be float, not bool"),
        (1.5, int | str, "here must be int or str, not float"),
        (["a"], tuple[str, int], "here must have 2 items, not 1"),
        ("z", Literal["x", "y"], "here must be 'x' or 'y', not str"),
        (1, ImageRef, "here must be an image, not int"),
        (np.zeros(2), Literal["x", "y"], "here must be 'x' or 'y', not ndarray"),
        (10**400, float, "beyond the range of float"),
        ([10**400], list[float] | str, "beyond the range of float"),
        ([1], dict[str, int], "here must be a dict, not list"),
        ({"a": "b"}, dict[str, int], r"here\['a'\] must be int, not str"),
        (np.zeros((2, 2, 2), np.uint8), Pixels, "shape"),
        (np.full((1, 1), 7.0), Pixels, "0 to 1"),
        (np.zeros((1, 1), np.int64), Pixels, "uint8"),
        (np.zeros((0, 1), np.uint8), Pixels, "each side"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_place(value: object, hint: object, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        check_argument(value, hint, "here")


@pytest.mark.parametrize("hint", [set[int], Callable[[], int], list[set[int]], type])
def test_a_hint_that_no_guest_can_satisfy_is_refused_when_the_tool_is_made(hint: object) -> None:
    with pytest.raises(TypeError, match="fits nothing"):
        check_hint(hint, "here")


def test_binding_names_the_parameter_and_checks_every_kind() -> None:
    def paint(what: str, *colours: str, size: int = 1, **more: float) -> None:
        """Paint."""

    tool = Tool.of(paint, "tools.paint")
    bound = tool.bind(["x", "red"], {"size": 2, "gloss": 1})
    assert bound.args == ("x", "red")
    assert bound.kwargs == {"size": 2, "gloss": 1.0}
    wrong: list[tuple[list[object], dict[str, object], str]] = [
        ([], {}, "tools.paint: missing a required argument: 'what'"),
        (["x", 1], {}, "tools.paint: argument 1 must be str"),
        (["x"], {"size": "big"}, "tools.paint: size must be int"),
        (["x"], {"gloss": "very"}, "tools.paint: gloss must be float"),
    ]
    for arguments, keywords, message in wrong:
        with pytest.raises(ToolError, match=message):
            tool.bind(arguments, keywords)
