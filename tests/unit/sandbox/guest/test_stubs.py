"""Stubs: real signatures from text, without evaluating any of it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence

import pytest

from maia.sandbox import ImageRef, Pixels
from maia.sandbox.guest.images import Image
from maia.sandbox.guest.names import session_names
from maia.sandbox.guest.stubs import make_stub


class Recorder:
    """A channel that answers everything with a list of one image and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = []

    def __call__(self, name: str, arguments: Sequence[object], keywords: Mapping[str, object]) -> object:
        self.calls.append((name, tuple(arguments), dict(keywords)))
        return [ImageRef("a", 1, 1), Pixels("L", 1, 1, b"x")]


@pytest.mark.parametrize(
    "text",
    [
        "()",
        "(a: int)",
        "(a, /, b: str = 'x', *c: float, d: list[int] | None = None, **e: object) -> dict[str, int]",
        "(*items: object) -> None",
        "(size: tuple[int, int] = (1, 2), *, flag: bool = True)",
    ],
)
def test_a_stub_shows_the_signature_that_it_was_made_from(text: str) -> None:
    stub = make_stub("tools.thing", text, "Do it.", Recorder())
    assert str(inspect.signature(stub)) == text
    assert stub.__name__ == "thing"
    assert stub.__doc__ == "Do it."


def test_a_call_is_bound_sent_and_its_images_become_handles() -> None:
    recorder = Recorder()
    stub = make_stub("tools.thing", "(a: int, *rest: int, flag: bool = False)", "", recorder)
    result = stub(1, 2, 3, flag=True)
    assert isinstance(result, list)
    handle, pixels = result
    assert recorder.calls == [("tools.thing", (1, 2, 3), {"flag": True})]
    assert isinstance(handle, Image)
    assert pixels.size == (1, 1)
    with pytest.raises(TypeError, match=r"tools\.thing\(a: int, .*missing a required argument: 'a'"):
        stub()
    assert len(recorder.calls) == 1


def test_dotted_names_share_objects() -> None:
    specs = [("a.b", "()", ""), ("a.c.d", "()", ""), ("e", "()", "")]
    names = session_names(specs, {"a.f": 3, "a.c.g": "x", "h": 1}, Recorder())
    holder = names["a"]
    assert holder.f == 3  # type: ignore[attr-defined]  # objects take any name
    assert holder.c.g == "x"  # type: ignore[attr-defined]  # the same
    assert callable(holder.c.d)  # type: ignore[attr-defined]  # the same
    assert callable(names["e"])
    assert names["h"] == 1
    assert repr(holder) == "<a: b, c, f>"
