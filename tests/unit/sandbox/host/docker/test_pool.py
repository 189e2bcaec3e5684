"""A pool, with things that cost nothing to make."""

from __future__ import annotations

import asyncio

import pytest

from maia.sandbox.errors import SandboxError
from maia.sandbox.host.tiers.docker.pool import Pool


class Factory:
    """Makes "kind number" and remembers what became of it."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.discarded: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.broken = False
        self.gate: asyncio.Event | None = None

    async def make(self, kind: str) -> str:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await (self.gate.wait() if self.gate else asyncio.sleep(0))
        finally:
            self.at_once -= 1
        if self.broken:
            raise SandboxError("the factory is broken")
        self.made.append(f"{kind} {len(self.made)}")
        return self.made[-1]

    def pool(self, size: int = 2) -> Pool[str, str]:
        return Pool(self.make, self.discarded.append, size)


async def quiet() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


async def test_nothing_is_made_before_it_is_wanted() -> None:
    factory = Factory()
    factory.pool()
    await quiet()
    assert factory.made == []


async def test_the_first_is_made_at_once_and_its_successors_in_the_background() -> None:
    factory = Factory()
    pool = factory.pool()
    assert await pool.take("small") == "small 0"
    await quiet()
    assert factory.made == ["small 0", "small 1", "small 2"]
    assert await pool.take("small") == "small 1"
    await quiet()
    assert len(factory.made) == 4


async def test_taking_does_not_wait_where_there_is_one() -> None:
    factory = Factory()
    pool = factory.pool()
    await pool.fill("small")
    await quiet()
    factory.gate = asyncio.Event()
    assert await asyncio.wait_for(pool.take("small"), 1) == "small 0"
    assert await asyncio.wait_for(pool.take("small"), 1) == "small 1"
    factory.gate.set()
    await pool.close()


async def test_each_kind_has_its_own() -> None:
    factory = Factory()
    pool = factory.pool(1)
    assert (await pool.take("small")).startswith("small")
    assert (await pool.take("large")).startswith("large")
    await quiet()
    assert sorted(made.split()[0] for made in factory.made) == ["large", "large", "small", "small"]


async def test_the_kind_that_was_taken_of_longest_ago_is_let_go() -> None:
    factory = Factory()
    pool = factory.pool(1)
    for kind in "abcde":
        await pool.take(kind)
        await quiet()
    assert [discarded[0] for discarded in factory.discarded] == ["a"]


async def test_no_more_than_two_are_made_at_the_same_time() -> None:
    factory = Factory()
    pool = factory.pool()
    await asyncio.gather(*(pool.take("small") for _ in range(10)))
    await quiet()
    assert factory.most_at_once == 2


async def test_one_that_has_died_is_not_handed_out() -> None:
    factory = Factory()
    pool = factory.pool()
    await pool.fill("small")
    await quiet()
    assert pool.forget("small 0")
    assert not pool.forget("small 0")
    assert await pool.take("small") == "small 1"


async def test_what_cannot_be_made_is_an_error_of_who_takes() -> None:
    factory = Factory()
    pool = factory.pool()
    factory.broken = True
    with pytest.raises(SandboxError, match="broken"):
        await pool.take("small")
    factory.broken = False
    assert await pool.take("small") == "small 0"


async def test_a_failure_in_the_background_is_nobodys_until_the_next_take() -> None:
    factory = Factory()
    pool = factory.pool()
    await pool.take("small")
    factory.broken = True
    await quiet()
    with pytest.raises(SandboxError):
        await pool.take("small")


async def test_without_room_nothing_is_kept() -> None:
    factory = Factory()
    pool = factory.pool(0)
    await pool.fill("small")
    await pool.take("small")
    await quiet()
    assert factory.made == ["small 0", "small 1"]
    assert factory.discarded == ["small 0"]


async def test_closing_lets_all_go_and_what_is_still_being_made() -> None:
    factory = Factory()
    pool = factory.pool()
    await pool.fill("small")
    factory.gate = asyncio.Event()
    taking = asyncio.create_task(pool.take("large"))
    await quiet()
    await pool.close()
    await pool.close()
    factory.gate.set()
    with pytest.raises(SandboxError, match="closed"):
        await taking
    with pytest.raises(SandboxError, match="closed"):
        await pool.take("small")
    assert sorted(factory.discarded) == sorted(factory.made)
