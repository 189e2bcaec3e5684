"""Arguments in one line."""

import pytest

from maia.orchestrator.report.arguments import LIMIT, arguments

IMAGE = {"image": "x-1"}


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"system": {"object": "system"}}, "system=system"),
        ({"images": [IMAGE] * 15, "titles": ["a", "b"]}, 'images=15 images, titles=["a", "b"]'),
        ({"images": IMAGE}, "images=1 image"),
        ({"prompts": list("abcdefg")}, 'prompts=["a", "b", "c", … 4 more]'),
        ({"prompts": list("abcd")}, 'prompts=["a", "b", "c", "d"]'),
        ({"items": [[IMAGE], [3, None]]}, "items=[[1 image], [3, null]]"),
        ({"x": {"image": "a", "other": 1}}, 'x={image: "a", other: 1}'),
        ([1.5, "é"], '[1.5, "é"]'),
        (None, "null"),
        ({}, ""),
    ],
)
def test_a_line(value: object, line: str) -> None:
    assert arguments(value) == line


def test_a_long_line_is_cut() -> None:
    assert len(arguments({"prompts": ["x" * 10_000]})) < LIMIT + 60
