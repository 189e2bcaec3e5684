from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence

import pytest

from maia.services._runtime.model_thread import ModelThread
from maia.services.subject.model import Answers, Input, Subject, SubjectInfo
from maia.services.subject.subjects import Subjects
from maia.wire.errors import NotFoundError, PreconditionError
from maia.wire.pictures import Rgb


class Weighty:
    """A subject that only takes memory."""

    def __init__(self, name: str, nbytes: int) -> None:
        self.info = SubjectInfo(name, "", (), 1, "1")
        self.nbytes = nbytes

    def prepare(self, rgb: Rgb) -> Input:
        raise NotImplementedError

    def look(self, inputs: Sequence[Input], layers: Sequence[str]) -> Mapping[str, Answers]:
        raise NotImplementedError


@pytest.fixture
def thread() -> Iterator[ModelThread]:
    with ModelThread("test") as made:
        yield made


class Loader:
    """Loads subjects of 40 bytes; of those that are too large, only once nothing else is there, or never."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.dropped: list[str] = []
        self.release = threading.Event()
        self.release.set()
        self.full = 0

    def __call__(self, name: str) -> Subject:
        assert self.release.wait(10)
        self.loaded.append(name)
        if name == "broken":
            raise ValueError("no such weights")
        if name == "large" and self.full:
            self.full -= 1
            raise RuntimeError("CUDA out of memory. Tried to allocate\nmuch")
        return Weighty(name, 40)

    def drop(self, subject: Subject) -> None:
        self.dropped.append(subject.info.name)


def subjects(loader: Loader, thread: ModelThread, *, max_bytes: int = 0) -> Subjects:
    names = ["a", "b", "c", "large", "broken"]
    return Subjects(loader, names, thread, max_bytes=max_bytes, on_drop=loader.drop)


async def test_a_subject_is_loaded_once_however_many_ask_at_once(thread: ModelThread) -> None:
    loader = Loader()
    made = subjects(loader, thread)
    loader.release.clear()
    asked = [asyncio.create_task(made.get("a")) for _ in range(5)]
    await asyncio.sleep(0.02)
    asked[0].cancel()  # who asked first hangs up
    await asyncio.sleep(0)
    loader.release.set()
    found = await asyncio.gather(*asked[1:])
    assert len({id(subject) for subject in found}) == 1
    assert loader.loaded == ["a"]
    assert made.loaded == ["a"]


async def test_the_one_asked_for_longest_ago_makes_room(thread: ModelThread) -> None:
    loader = Loader()
    made = subjects(loader, thread, max_bytes=100)
    for name in ("a", "b", "a", "c"):
        await made.get(name)
    assert made.loaded == ["a", "c"]
    assert loader.dropped == ["b"]


async def test_what_does_not_fit_beside_others_is_loaded_once_they_are_gone(thread: ModelThread) -> None:
    loader = Loader()
    loader.full = 1
    made = subjects(loader, thread)
    await made.get("a")
    assert (await made.get("large")).info.name == "large"
    assert made.loaded == ["large"]
    assert loader.dropped == ["a"]


async def test_what_never_fits_says_so_and_the_server_goes_on(thread: ModelThread) -> None:
    loader = Loader()
    loader.full = 2
    made = subjects(loader, thread)
    with pytest.raises(PreconditionError, match="Tried to allocate\\)") as caught:
        await made.get("large")
    assert caught.value.reason == "MODEL_TOO_LARGE"
    assert (await made.get("a")).info.name == "a"


async def test_the_others_are_put_away_in_vain_once_only(thread: ModelThread) -> None:
    loader = Loader()
    loader.full = 10
    made = subjects(loader, thread)
    for _ in range(3):
        with pytest.raises(PreconditionError):
            await made.get("large")
        await made.get("a")
    assert loader.loaded == ["large", "large", "a"]


async def test_two_that_do_not_fit_together_are_both_answered(thread: ModelThread) -> None:
    made = subjects(Loader(), thread, max_bytes=50)
    first, second = await asyncio.gather(made.get("a"), made.get("b"))
    assert (first.info.name, second.info.name) == ("a", "b")
    assert made.loaded == ["b"]


async def test_a_load_that_failed_is_tried_again(thread: ModelThread) -> None:
    loader = Loader()
    made = Subjects(loader, ["a", "broken"], thread, retry_after_s=0.2)
    for _ in range(3):
        with pytest.raises(ValueError, match="no such weights"):
            await made.get("broken")
    assert loader.loaded == ["broken"]
    assert (await made.get("a")).info.name == "a"
    await asyncio.sleep(0.25)
    with pytest.raises(ValueError, match="no such weights"):
        await made.get("broken")
    assert loader.loaded == ["broken", "a", "broken"]


async def test_what_failed_holds_nothing_of_those_who_asked(thread: ModelThread) -> None:
    class Request:
        """What a caller sent."""

    async def handler(made: Subjects, name: str, request: Request) -> None:
        del request
        await made.get(name)

    loader = Loader()
    loader.full = 10
    made = subjects(loader, thread)
    alive: list[weakref.ref[Request]] = []
    for name in ("large", "broken") * 5:
        request = Request()
        alive.append(weakref.ref(request))
        with pytest.raises((PreconditionError, ValueError)) as caught:
            await handler(made, name, request)
        if isinstance(caught.value, PreconditionError):
            assert caught.value.metadata == {"subject": "large"}
        del caught, request
    gc.collect()
    assert [one for one in alive if one() is not None] == []


async def test_a_module_that_asks_its_process_to_exit_does_not_load(thread: ModelThread) -> None:
    def load(name: str) -> Subject:
        raise SystemExit(name)

    with pytest.raises(RuntimeError, match=r"SystemExit\('a'\)"):
        await Subjects(load, ["a"], thread).get("a")


async def test_nothing_is_loaded_that_the_operator_did_not_name(thread: ModelThread) -> None:
    loader = Loader()
    with pytest.raises(NotFoundError) as caught:
        await subjects(loader, thread).get("python:os:system")
    assert caught.value.metadata["valid"] == "a, b, c, large, broken"
    assert loader.loaded == []
