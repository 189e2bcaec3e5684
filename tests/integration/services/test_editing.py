"""The editing server, by gRPC, with the scene editor."""

from __future__ import annotations

import io
from typing import TypeAlias

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tests.integration.services.conftest import Draw, encoded, readable, refusal, too_large, unreadable

from maia.editing.v1 import editing_pb2, editing_pb2_grpc
from maia.services.scenes.segment import segment
from maia.type.v1 import type_pb2
from maia.wire.limits import MAX_PROMPT_CHARS
from maia.wire.pictures import decode_picture

Stub: TypeAlias = "editing_pb2_grpc.EditingServiceAsyncStub"


def item(picture: type_pb2.Picture, instruction: str, seed: int = 1) -> editing_pb2.EditItem:
    return editing_pb2.EditItem(picture=picture, instruction=instruction, seed=seed)


async def edit(stub: Stub, *items: editing_pb2.EditItem) -> list[editing_pb2.EditedImage]:
    return list((await stub.EditImages(editing_pb2.EditImagesRequest(items=items))).images)


def seen(picture: type_pb2.Picture) -> set[str]:
    return {f"{region.colour} {region.shape}" for region in segment(decode_picture(picture)).regions}


async def test_the_editor_describes_itself(editing_stub: Stub) -> None:
    info = await editing_stub.GetEditor(editing_pb2.GetEditorRequest())
    assert info.editor == "scenes"
    assert "replace" in info.instruction_guide


async def test_an_edit_changes_what_it_says_and_nothing_else(editing_stub: Stub, draw: Draw) -> None:
    picture = await draw("a red circle on the left and a blue square on the right")
    (edited,) = await edit(editing_stub, item(picture, "replace the circle with a star"))
    assert seen(edited.picture) == {"red star", "blue square"}
    assert not edited.warnings
    before, after = decode_picture(picture), decode_picture(edited.picture)
    assert np.array_equal(before[:, 130:], after[:, 130:])


async def test_edits_can_be_chained(editing_stub: Stub, draw: Draw) -> None:
    (first,) = await edit(editing_stub, item(await draw("a red circle"), "make the circle green"))
    (second,) = await edit(editing_stub, item(first.picture, "replace the circle with a star"))
    assert seen(second.picture) == {"green star"}
    assert not second.warnings


async def test_the_same_edit_gives_the_same_bytes_whatever_else_is_asked(editing_stub: Stub, draw: Draw) -> None:
    items = [item(await draw("a red circle", seed), "add a yellow star", seed) for seed in range(10)]
    together = await edit(editing_stub, *items)
    assert together == [(await edit(editing_stub, one))[0] for one in items]


async def test_a_picture_without_its_scene_is_edited_by_what_is_visible(editing_stub: Stub, draw: Draw) -> None:
    rgb = decode_picture(await draw("a large red circle and a large blue square"))
    photo = encoded(Image.fromarray(rgb), "JPEG", quality=90)
    (edited,) = await edit(editing_stub, item(photo, "make the circle green"))
    assert seen(edited.picture) == {"green circle", "blue square"}
    assert "no scene" in " ".join(edited.warnings)


async def test_a_scene_that_is_not_what_the_picture_shows_is_not_believed(editing_stub: Stub, draw: Draw) -> None:
    shown, lied = await draw("a large red circle"), await draw("a large blue star")
    scene_text = Image.open(io.BytesIO(lied.data)).info["maia-scene"]
    info = PngInfo()
    info.add_text("maia-scene", scene_text)
    forged = encoded(Image.fromarray(decode_picture(shown)), pnginfo=info)
    (edited,) = await edit(editing_stub, item(forged, "make the circle green"))
    assert seen(edited.picture) == {"green circle"}
    assert edited.warnings


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99}', "9" * 9000])
async def test_a_broken_scene_text_is_no_obstacle(editing_stub: Stub, draw: Draw, text: str) -> None:
    info = PngInfo()
    info.add_text("maia-scene", text)
    forged = encoded(Image.fromarray(decode_picture(await draw("a large red circle"))), pnginfo=info)
    (edited,) = await edit(editing_stub, item(forged, "make the circle green"))
    assert seen(edited.picture) == {"green circle"}


async def test_what_cannot_be_done_is_said(editing_stub: Stub, draw: Draw) -> None:
    picture = await draw("a red circle")
    for instruction in ("remove the triangle", "paint a portrait of a dog", ""):
        (edited,) = await edit(editing_stub, item(picture, instruction))
        assert edited.warnings, instruction


@pytest.mark.parametrize("name", readable())
async def test_an_unusual_picture_is_edited(editing_stub: Stub, name: str) -> None:
    (edited,) = await edit(editing_stub, item(readable()[name], "add a blue star"))
    assert decode_picture(edited.picture).min(axis=None) >= 0


async def test_what_is_refused(editing_stub: Stub, draw: Draw) -> None:
    good = item(await draw("a red circle"), "make it blue")

    async def reason(*items: editing_pb2.EditItem) -> tuple[str, str]:
        error = await refusal(editing_stub.EditImages(editing_pb2.EditImagesRequest(items=items)))
        return error.reason, error.metadata.get("index", "")

    assert await reason() == ("REQUEST_EMPTY", "")
    assert await reason(good, item(good.picture, "x" * (MAX_PROMPT_CHARS + 1))) == ("PROMPT_TOO_LONG", "1")
    for picture in unreadable().values():
        assert await reason(good, item(picture, "x")) == ("PICTURE_UNREADABLE", "1")
    assert await reason(item(too_large(), "x")) == ("PICTURE_TOO_LARGE", "0")
