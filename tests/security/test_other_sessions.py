"""Attacks of one session on another, and across blocks."""

from __future__ import annotations

from typing import Any

import pytest

from maia.sandbox import Host, Tool

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_files_modules_and_variables_are_not_shared(host: Host, empty_tmp: list[str]) -> None:
    async with await host.open(policy="off") as one, await host.open(policy="off") as other:
        await one.run(
            "x = 1\nopen('/tmp/f', 'w').write('1')\nnp.pi = 3\nimport builtins\nbuiltins.print = None\nmath.tau = 0"
        )
        outcome = await other.run(
            "import os\nprint('x' in globals(), sorted(os.listdir('/tmp')), round(np.pi, 2), math.tau > 6)"
        )
    assert outcome.output == f"False {empty_tmp} 3.14 True\n"


async def test_a_later_session_finds_nothing_of_an_earlier_one(host: Host, empty_tmp: list[str]) -> None:
    for _ in range(3):
        async with await host.open(policy="off") as session:
            outcome = await session.run(
                "import os\nprint(sorted(os.listdir('/tmp')), hasattr(math, 'mark'))\n"
                "math.mark = 1\nopen('/tmp/f', 'w')"
            )
            assert outcome.output == f"{empty_tmp} False\n"


async def test_the_pages_of_the_zygote_are_not_changed_through_a_guest(host: Host) -> None:
    smash = (
        "import ctypes\na = np.frombuffer(np.__doc__.encode(), 'u1')\n"
        "ctypes.memset(id(np.__doc__) + 48, ord('Z'), 16)\nprint(np.__doc__[:16])"
    )
    async with await host.open(policy="off") as one:
        assert "ZZZZ" in (await one.run(smash)).output
    async with await host.open(policy="off") as other:
        assert "ZZZZ" not in (await other.run("print(np.__doc__[:16])")).output


async def test_tools_of_one_session_are_not_anothers(host: Host) -> None:
    called: list[str] = []

    def make(owner: str) -> Tool:
        async def act() -> str:
            """Act."""
            called.append(owner)
            return owner

        return Tool.of(act)

    async with await host.open(tools=[make("a")]) as a, await host.open(tools=[make("b")]) as b, await host.open() as c:
        assert (await a.run("print(act())")).output == "a\n"
        assert (await b.run("print(act())")).output == "b\n"
        assert "NameError" in (await c.run("act()")).message
    assert called == ["a", "b"]


async def test_random_numbers_of_two_sessions_differ_by_seed_only(host: Any) -> None:
    outputs = set()
    for seed in (1, 2):
        async with await host.open(seed=seed) as session:
            outputs.add((await session.run("print(random.random())")).output)
    assert len(outputs) == 2
