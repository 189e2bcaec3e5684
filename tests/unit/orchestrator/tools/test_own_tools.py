"""A tool of one's own: one function becomes dispatch, stub and API text."""

from typing import Any

import pytest

from maia.orchestrator.api_text import api_text
from maia.orchestrator.gateway import Gateway
from maia.orchestrator.toolbox import TOOLS, Toolbox, image_list, tool_specs, with_own
from maia.sandbox import ImageRef, ToolError


async def brightness(toolbox: Toolbox, images: list[ImageRef]) -> list[float]:
    """Say how bright images are."""
    refs = await image_list(images, "images", toolbox.study.images)
    pixels = [await toolbox.study.images.pixels(ref.id) for ref in refs]
    return [sum(each.data) / len(each.data) for each in pixels]


async def test_an_own_tool_is_called_journaled_and_explained_as_the_others_are(bench: Any) -> None:
    tools = with_own({"tools.brightness": brightness})
    gateway = Gateway(bench.study, bench.record, bench.shown, tools=tools)
    (entrance,) = [tool for tool in gateway.tools() if tool.spec.name == "tools.brightness"]
    function: Any = entrance.function
    assert await function([bench.picture(30, 60, 90)]) == [60.0]
    with pytest.raises(ToolError, match="images is empty"):
        await function([])
    text = api_text(tools)
    assert "tools.brightness(images: list[Image]) -> list[float]\n    Say how bright images are." in text
    assert api_text() == text.replace(text[text.index("\n\ntools.brightness") :], "")
    assert [spec.name for spec in tool_specs(tools)] == [*TOOLS, "tools.brightness"]


def plain(toolbox: Toolbox) -> None:
    """Not async."""


async def silent(toolbox: Toolbox) -> None:
    pass


@pytest.mark.parametrize(
    ("name", "function", "said"),
    [
        ("brightness", brightness, "cannot be the name"),
        ("tools.a-b", brightness, "cannot be the name"),
        ("tools.display", brightness, "cannot be the name"),
        ("tools.plain", plain, "no async function"),
        ("tools.silent", silent, "no docstring"),
    ],
)
def test_what_cannot_be_a_tool_is_refused(name: str, function: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        with_own({name: function})
