"""What the servicer does around a generator: kept results, empty prompts, calls that end before their work."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.results import MadePicture, ResultStore
from maia.services.generation.model import GeneratorInfo, Wish
from maia.services.generation.servicer import BATCHES, generation_service
from maia.wire.channels import open_channel
from maia.wire.errors import CancelledError, InvalidRequestError, MaiaError
from maia.wire.server import running
from maia.wire.status import translated


class Counting:
    """Draws a few bytes that tell the wish, and remembers what it was asked."""

    def __init__(self, revision: str = "1", *, takes_empty: bool = False) -> None:
        self.info = GeneratorInfo("counting", revision, "", 1, 1, takes_empty)
        self.drawn: list[str] = []

    def key(self, wish: Wish) -> str:
        return "any"

    def draw(self, wishes: Sequence[Wish], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        self.drawn += [f"{wish.prompt}/{wish.seed}" for wish in wishes]
        return [self._one(wish) for wish in wishes]

    def _one(self, wish: Wish) -> MadePicture | MaiaError:
        if wish.prompt == "forbidden":
            return InvalidRequestError("no", reason="CONTENT_REFUSED", metadata={"index": str(wish.index)})
        return MadePicture(f"{wish.prompt}/{wish.seed}".encode(), ("told",))


class Waiting(Counting):
    """Draws until nobody waits any more."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.left = threading.Event()

    def draw(self, wishes: Sequence[Wish], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        self.begun.set()
        until = time.monotonic() + 30
        while not abandoned() and time.monotonic() < until:
            time.sleep(0.01)
        if abandoned():
            self.left.set()
        raise CancelledError("left")


@asynccontextmanager
async def stub_of(
    generator: Counting, store: ResultStore
) -> AsyncIterator[generation_pb2_grpc.GenerationServiceAsyncStub]:
    with ModelThread("test") as thread:
        async with (
            generation_service(generator, thread, store) as service,
            running([service]) as server,
            open_channel(server.address) as channel,
        ):
            yield generation_pb2_grpc.GenerationServiceStub(channel)


def request(*items: tuple[str, int]) -> generation_pb2.GenerateImagesRequest:
    return generation_pb2.GenerateImagesRequest(
        items=[generation_pb2.GenerateItem(prompt=prompt, seed=seed) for prompt, seed in items]
    )


async def told(stub: generation_pb2_grpc.GenerationServiceAsyncStub, *items: tuple[str, int]) -> list[str]:
    images = (await stub.GenerateImages(request(*items))).images
    assert all(list(image.warnings) == ["told"] for image in images)
    return [image.picture.data.decode() for image in images]


async def test_what_was_drawn_before_is_not_drawn_again(tmp_path: Path) -> None:
    generator = Counting()
    async with stub_of(generator, ResultStore(tmp_path, 10_000)) as stub:
        assert await told(stub, ("a", 1), ("b", 1)) == ["a/1", "b/1"]
        assert await told(stub, ("b", 1), ("a", 2), ("a", 1), ("a", 2)) == ["b/1", "a/2", "a/1", "a/2"]
    assert generator.drawn == ["a/1", "b/1", "a/2"]
    again, other = Counting(), Counting("2")
    async with stub_of(again, ResultStore(tmp_path, 10_000)) as stub:
        assert await told(stub, ("a", 1)) == ["a/1"]
    async with stub_of(other, ResultStore(tmp_path, 10_000)) as stub:
        assert await told(stub, ("a", 1)) == ["a/1"]
    assert (again.drawn, other.drawn) == ([], ["a/1"])


async def test_without_a_store_everything_is_drawn(tmp_path: Path) -> None:
    generator = Counting()
    async with stub_of(generator, ResultStore(tmp_path / "none", 0)) as stub:
        many = [("a", seed) for seed in range(2 * BATCHES.most + 1)]
        assert await told(stub, *many) == [f"a/{seed}" for _, seed in many]
        await told(stub, ("a", 0))
    assert len(generator.drawn) == 2 * BATCHES.most + 2


async def test_a_wish_that_fails_is_told_by_its_place_and_the_rest_is_kept(tmp_path: Path) -> None:
    generator = Counting()
    async with stub_of(generator, ResultStore(tmp_path, 10_000)) as stub:
        with pytest.raises(InvalidRequestError) as caught, translated(server="server"):
            await stub.GenerateImages(
                request(*[("a", seed) for seed in range(BATCHES.most)], ("b", 1), ("forbidden", 1))
            )
        assert (caught.value.reason, caught.value.metadata["index"]) == ("CONTENT_REFUSED", str(BATCHES.most + 1))
        generator.drawn.clear()
        assert await told(stub, ("a", 0), ("b", 1)) == ["a/0", "b/1"]
    assert generator.drawn == []


@pytest.mark.parametrize("prompt", ["", " \n\t"])
async def test_an_empty_prompt_is_for_those_who_make_something_of_it(tmp_path: Path, prompt: str) -> None:
    store = ResultStore(tmp_path, 0)
    generator = Counting()
    async with stub_of(generator, store) as stub:
        with pytest.raises(InvalidRequestError) as caught, translated(server="server"):
            await stub.GenerateImages(request(("fine", 1), (prompt, 1)))
        assert (caught.value.reason, caught.value.metadata["index"]) == ("PROMPT_EMPTY", "1")
    assert generator.drawn == []
    async with stub_of(Counting(takes_empty=True), store) as stub:
        assert await told(stub, (prompt, 1)) == [f"{prompt}/1"]


async def test_work_of_a_caller_who_hung_up_is_told_so(tmp_path: Path) -> None:
    generator = Waiting()
    async with stub_of(generator, ResultStore(tmp_path, 0)) as stub:
        call = asyncio.ensure_future(stub.GenerateImages(request(("a", 1))))
        assert await asyncio.to_thread(generator.begun.wait, 10)
        assert not generator.left.is_set()
        call.cancel()
        assert await asyncio.to_thread(generator.left.wait, 10)
        await asyncio.gather(call, return_exceptions=True)


async def test_work_whose_deadline_passed_is_told_so(tmp_path: Path) -> None:
    generator = Waiting()
    async with stub_of(generator, ResultStore(tmp_path, 0)) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GenerateImages(request(("a", 1)), timeout=0.5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await asyncio.to_thread(generator.left.wait, 10)
