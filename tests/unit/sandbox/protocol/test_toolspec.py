"""Tool specs: what a typed function says about itself."""

from __future__ import annotations

import pytest

from maia.sandbox import ImageRef, ToolSpec
from maia.sandbox.protocol.toolspec import check_names


def generate(prompts: list[str], /, *extra: int, size: int = 512, base: ImageRef | None = None) -> list[ImageRef]:
    """Draw pictures.

    One per prompt.
    """
    return []


def test_a_function_describes_itself_in_the_words_of_guests() -> None:
    spec = ToolSpec.of(generate, "tools.text2image")
    assert spec.name == "tools.text2image"
    assert spec.signature == (
        "(prompts: list[str], /, *extra: int, size: int = 512, base: Image | None = None) -> list[Image]"
    )
    assert spec.doc == "Draw pictures.\n\nOne per prompt."


def test_a_parameter_without_hint_is_refused() -> None:
    search = eval("lambda query: query")

    with pytest.raises(ValueError, match="'query' has no type hint"):
        ToolSpec.of(search)


@pytest.mark.parametrize(
    "signature",
    ["", "(a", "(a): pass\ndef f()", "(a=print())", "(a: int = b)", "() -> int: ...\nimport os\ndef g()", "()\0"],
)
def test_text_that_is_no_signature_is_refused(signature: str) -> None:
    with pytest.raises(ValueError, match="tool t"):
        ToolSpec("t", signature)


@pytest.mark.parametrize("name", ["", ".a", "a.", "a b", "_a", "a.__class__", "class", "a.b.c.d", "1a"])
def test_names_that_guests_could_not_write_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"name|parts"):
        ToolSpec(name, "()")


@pytest.mark.parametrize("names", [["a", "a"], ["a", "a.b"], ["a.b.c", "a.b"]])
def test_clashing_names_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"twice|both"):
        check_names(names)


def test_objects_may_hold_many_names() -> None:
    check_names(["a.b", "a.c", "a.d.e", "x"])
