"""Where a name stands in a TOML file."""

from __future__ import annotations

import pytest

from maia.wire.toml_places import line_of, meant, place

TEXT = '''# modle = "in a comment"
text = """
modle = "in a text"
"""
modle = [
  1,
]

[subject]
"modle" = "x"
inner.deep = 3

[generation]
modle = 2
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("text",), 2),
        (("modle",), 5),
        (("subject",), 9),
        (("subject", "modle"), 10),
        (("subject", "inner", "deep"), 11),
        (("generation", "modle"), 14),
        (("generation", "model"), None),
        (("modle", "deeper"), None),
    ],
)
def test_a_name_is_found_where_it_is_set(path: tuple[str, ...], line: int | None) -> None:
    assert line_of(TEXT, path) == line
    assert place("lab.toml", TEXT, path) == ("in lab.toml" if line is None else f"in lab.toml, line {line}")


def test_the_nearest_name_is_offered_or_all() -> None:
    assert meant("modle", ["listen", "model"]) == "did you mean 'model'?"
    assert meant("colour", ["listen", "model"]) == "valid: listen, model"
