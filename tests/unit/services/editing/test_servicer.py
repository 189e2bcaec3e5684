"""What the servicer does around an editor: kept results, batches of edits that may share one, empty instructions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.unit.services.runtime.pictures import noise

from maia.editing.v1 import editing_pb2, editing_pb2_grpc
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.results import MadePicture, ResultStore
from maia.services.editing.model import Edit, EditorInfo
from maia.services.editing.servicer import editing_service
from maia.wire.channels import open_channel
from maia.wire.errors import InvalidRequestError, MaiaError
from maia.wire.pictures import encode_png, png_picture
from maia.wire.server import running
from maia.wire.status import translated

SMALL, WIDE = encode_png(noise(1, 8, 8)), encode_png(noise(2, 16, 8))


class Counting:
    """Tells the edit, and remembers what it was asked together."""

    info = EditorInfo("counting", "1", "")

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def key(self, size: tuple[int, int]) -> int:
        return size[0]

    def edit(self, edits: Sequence[Edit], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        assert len({edit.rgb.shape[1] for edit in edits}) == 1
        self.batches.append([self._told(edit) for edit in edits])
        return [
            InvalidRequestError("no", reason="CONTENT_REFUSED", metadata={"index": str(edit.index)})
            if edit.instruction == "forbidden"
            else MadePicture(self._told(edit).encode(), ())
            for edit in edits
        ]

    def _told(self, edit: Edit) -> str:
        return f"{edit.rgb.shape[1]} {edit.instruction} {edit.seed}"


@asynccontextmanager
async def stub_of(editor: Counting, store: ResultStore) -> AsyncIterator[editing_pb2_grpc.EditingServiceAsyncStub]:
    with ModelThread("test") as thread:
        async with (
            editing_service(editor, thread, store) as service,
            running([service]) as server,
            open_channel(server.address) as channel,
        ):
            yield editing_pb2_grpc.EditingServiceStub(channel)


async def told(stub: editing_pb2_grpc.EditingServiceAsyncStub, *items: tuple[bytes, str, int]) -> list[str]:
    request = editing_pb2.EditImagesRequest(
        items=[
            editing_pb2.EditItem(picture=png_picture(data), instruction=instruction, seed=seed)
            for data, instruction, seed in items
        ]
    )
    with translated(server="server"):
        return [image.picture.data.decode() for image in (await stub.EditImages(request)).images]


async def test_edits_share_a_batch_where_they_may_and_answers_keep_their_order(tmp_path: Path) -> None:
    editor = Counting()
    async with stub_of(editor, ResultStore(tmp_path, 0)) as stub:
        answers = await told(stub, (SMALL, "a", 1), (WIDE, "b", 1), (SMALL, "c", 1), (WIDE, "a", 1))
    assert answers == ["8 a 1", "16 b 1", "8 c 1", "16 a 1"]
    assert editor.batches == [["8 a 1", "8 c 1"], ["16 b 1", "16 a 1"]]


async def test_what_was_made_before_is_not_made_again(tmp_path: Path) -> None:
    editor = Counting()
    async with stub_of(editor, ResultStore(tmp_path, 10_000)) as stub:
        assert await told(stub, (SMALL, "a", 1)) == ["8 a 1"]
        editor.batches.clear()
        answers = await told(stub, (SMALL, "a", 2), (SMALL, "a", 1), (WIDE, "a", 1), (SMALL, "b", 1), (SMALL, "a", 2))
        assert answers == ["8 a 2", "8 a 1", "16 a 1", "8 b 1", "8 a 2"]
    assert sorted(told for batch in editor.batches for told in batch) == ["16 a 1", "8 a 2", "8 b 1"]


async def test_an_edit_that_fails_is_told_by_its_place(tmp_path: Path) -> None:
    async with stub_of(Counting(), ResultStore(tmp_path, 0)) as stub:
        for items, reason, index in (
            ([(SMALL, "a", 1), (WIDE, "a", 1), (SMALL, "forbidden", 1)], "CONTENT_REFUSED", "2"),
            ([(SMALL, "a", 1), (SMALL, "forbidden", 1), (SMALL, "forbidden", 1)], "CONTENT_REFUSED", "1"),
            ([(SMALL, "a", 1), (SMALL, " ", 1)], "PROMPT_EMPTY", "1"),
            ([(SMALL, "a", 1), (SMALL[:20], "a", 1)], "PICTURE_UNREADABLE", "1"),
        ):
            with pytest.raises(InvalidRequestError) as caught:
                await told(stub, *items)
            assert (caught.value.reason, caught.value.metadata["index"]) == (reason, index)


async def test_a_picture_that_cannot_be_read_is_told_by_its_place_though_others_were_kept(tmp_path: Path) -> None:
    async with stub_of(Counting(), ResultStore(tmp_path, 10_000)) as stub:
        await told(stub, (SMALL, "a", 1))
        with pytest.raises(InvalidRequestError) as caught:
            await told(stub, (SMALL, "a", 1), (WIDE, "a", 1), (SMALL[:20], "a", 1))
        assert caught.value.metadata["index"] == "2"


@pytest.mark.parametrize("kept", [0, 10_000])
async def test_what_many_ask_for_at_once_is_made_once(tmp_path: Path, kept: int) -> None:
    editor = Counting()
    async with stub_of(editor, ResultStore(tmp_path, kept)) as stub:
        answers = await asyncio.gather(*(told(stub, (WIDE, "b", 1), (SMALL, "a", 1)) for _ in range(3)))
    assert answers == [["16 b 1", "8 a 1"]] * 3
    made = [told for batch in editor.batches for told in batch]
    assert set(made) == {"16 b 1", "8 a 1"}
    if kept:
        assert len(made) == 2
