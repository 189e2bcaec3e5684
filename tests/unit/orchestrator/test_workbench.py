"""What a block prints and displays, as the backbone and the journal get it; with real sandbox sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from maia.orchestrator.conversation import Part, Text
from maia.orchestrator.events import BlockEnded, BlockOutput, BlockStarted, Displayed, Event, ToolCalled
from maia.orchestrator.journal import JournalReader, JournalWriter
from maia.orchestrator.protocols import Shown
from maia.orchestrator.record import Record
from maia.orchestrator.workbench import MAX_BLOCK_CHARS, MAX_SHOWN_CHARS, SandboxWorkbench, Transcript
from maia.sandbox import Host, Limits, RemoteHost, Session, Tool, ToolError
from maia.sandbox.remote.servicer import execution_service
from maia.wire.errors import InternalError, UnavailableError
from maia.wire.server import running

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass
class Bench:
    """A workbench whose sessions have three tools: one shows, one computes, one fails as a server does."""

    folder: Path
    record: Record
    transcript: Transcript
    workbench: SandboxWorkbench
    sessions: int = 0

    async def run(self, code: str) -> Shown:
        return await self.workbench.run(1, code)

    async def shown(self, code: str) -> list[str]:
        return texts((await self.run(code)).parts)

    def events(self, *kinds: type[Any]) -> list[Any]:
        events: tuple[Event, ...] = JournalReader(self.folder).events
        return [event for event in events if not kinds or isinstance(event, kinds)]

    def tools(self) -> list[Tool]:
        async def show(*items: str) -> None:
            """Show texts."""
            self.transcript.show([Text(item) for item in items])

        async def add(a: int, b: int) -> int:
            """Add, as a tool that journals its call."""
            self.transcript.call_begins()
            self.record.journal.append(ToolCalled(self.transcript.block, self.record.next_call(), "add", {}, ""))
            return a + b

        async def reach(server: str) -> None:
            """Fail."""
            raise UnavailableError(f"the {server} server is down")

        async def refuse(text: str) -> None:
            """Refuse."""
            raise ToolError(text)

        return [Tool.of(function) for function in (show, add, reach, refuse)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Host]:
    async with Host(cache_dir=tmp_path_factory.mktemp("jail")) as entered:
        yield entered


@pytest_asyncio.fixture(loop_scope="session")
async def make(host: Host, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Bench]]]:
    async with AsyncExitStack() as stack:

        async def make_bench(**limits: Any) -> Bench:
            record = Record(stack.enter_context(JournalWriter(tmp_path)))
            transcript = Transcript(record)

            async def open_session() -> Session:
                made.sessions += 1
                return await host.open(
                    tools=made.tools(), limits=Limits(**limits), policy="off", on_output=transcript.printed
                )

            made = Bench(tmp_path, record, transcript, SandboxWorkbench(record, transcript, open_session))
            stack.push_async_callback(made.workbench.close)
            return made

        yield make_bench


@pytest_asyncio.fixture(loop_scope="session")
async def bench(make: Callable[..., Awaitable[Bench]]) -> Bench:
    return await make()


def texts(parts: Sequence[Part]) -> list[str]:
    assert all(isinstance(part, Text) for part in parts)
    return [part.text for part in parts if isinstance(part, Text)]


async def test_printed_and_displayed_things_keep_their_order(bench: Bench) -> None:
    code = "for i in range(20):\n    print('printed', i)\n    show(f'shown {i}')\nprint('end')"
    expected = [text for i in range(20) for text in (f"printed {i}", f"shown {i}")]
    assert await bench.shown(code) == [*expected, "end"]
    journaled = [
        event.text.strip() if isinstance(event, BlockOutput) else event.parts[0].text
        for event in bench.events(BlockOutput, Displayed)
    ]
    assert journaled == [*expected, "end"]


async def test_output_without_a_newline_stands_before_what_is_displayed_after_it(bench: Bench) -> None:
    code = "print('activation: ', end='')\nshow('a picture')\nprint('3.2', end='')"
    assert await bench.shown(code) == ["activation: ", "a picture", "3.2"]


async def test_a_megabyte_of_output_keeps_its_place(make: Callable[..., Awaitable[Bench]]) -> None:
    bench = await make(output_bytes=8 << 20)
    parts = await bench.shown("for i in range(4):\n    print(str(i) * 262144)\n    show(f'shown {i}')")
    assert [part[0] if part[0].isdigit() else part for part in parts] == [
        item for i in range(4) for item in (str(i), f"shown {i}")
    ]
    assert all(len(part) < MAX_SHOWN_CHARS + 100 for part in parts)
    assert [len(event.text) for event in bench.events(BlockOutput)] == [262145] * 4


async def test_the_journal_has_output_before_the_call_that_came_after_it(bench: Bench) -> None:
    parts = await bench.shown("print('before')\nprint(add(1, 2), 'after')\nprint(add(3, 4))")
    assert parts == ["before\n3 after\n7"]
    kinds = [event.text if isinstance(event, BlockOutput) else event.kind for event in bench.events()]
    assert kinds == [
        "block_started",
        "before\n",
        "tool_called",
        "3 after\n",
        "tool_called",
        "7\n",
        "block_ended",
    ]


async def test_a_line_that_a_call_interrupts_stays_one_line(bench: Bench) -> None:
    code = "import sys\nprint('sum: ', end='')\nsys.stdout.flush()\nprint(add(1, 2))"
    assert await bench.shown(code) == ["sum: 3"]


@pytest.mark.parametrize("code", ["x = 1", "print()", "print('  ')", "print('\\n\\n')"])
async def test_a_block_that_shows_nothing_is_told_how_to_see_results(bench: Bench, code: str) -> None:
    shown = await bench.run(code)
    (text,) = texts(shown.parts)
    assert "printed nothing" in text
    assert shown.ok


async def test_an_exception_is_shown_after_the_output_and_variables_stay(bench: Bench) -> None:
    shown = await bench.run("x = 1\nprint('so far')\nshow('a')\n1 / 0")
    assert not shown.ok
    parts = texts(shown.parts)
    assert parts[:2] == ["so far", "a"]
    assert "ZeroDivisionError" in parts[2]
    assert await bench.shown("print(x)") == ["1"]
    assert [event.status for event in bench.events(BlockEnded)] == ["exception", "ok"]
    assert bench.events(BlockEnded)[0].message == parts[2]


async def test_a_killed_block_is_told_and_the_next_has_what_is_left(bench: Bench) -> None:
    await bench.run("x = 1")
    shown = await bench.run("import os\nprint('last words')\nos._exit(3)")
    assert not shown.ok
    parts = texts(shown.parts)
    assert parts[0] == "last words"
    again = texts((await bench.run("print(x)")).parts)
    if bench.events(BlockEnded)[1].state == "restored":  # where this machine can leave checkpoints
        assert "variables are those from before this block" in parts[-1]
        assert again == ["1"]
        assert bench.sessions == 1
    else:
        assert "All variables are lost" in parts[-1]
        assert "NameError" in again[-1]
        assert bench.sessions == 2
    assert await bench.shown("print('works')") == ["works"]
    assert [event.block for event in bench.events(BlockStarted)] == [1, 2, 3, 4]


async def test_a_guest_that_breaks_the_protocol_costs_its_own_session_only(bench: Bench) -> None:
    shown = await bench.run("import os\nprint('forging')\nos.write(1000, bytes(4))\nimport time\ntime.sleep(60)")
    assert not shown.ok
    parts = texts(shown.parts)
    assert parts[0] == "forging"
    assert "protocol" in parts[1]
    assert "All variables are lost" in parts[-1]
    assert await bench.shown("print('works')") == ["works"]
    assert bench.events(BlockEnded)[0].status == "killed"


async def test_a_limit_is_an_outcome(make: Callable[..., Awaitable[Bench]]) -> None:
    bench = await make(wall_s=0.2, output_bytes=1000)
    shown = await bench.run("print('begun')\nwhile True: pass")
    assert texts(shown.parts)[0] == "begun"
    assert not shown.ok
    shown = await bench.run("while True: print('x' * 100)")
    assert not shown.ok
    assert "output cut at 1,000 bytes" in texts(shown.parts)[0]
    assert [event.status for event in bench.events(BlockEnded)] == ["wall_clock", "output"]


async def test_code_that_no_session_takes_is_told_and_the_session_stays(bench: Bench) -> None:
    await bench.run("x = 1")
    shown = await bench.run(f"x = '{'a' * (1 << 20)}'")
    assert not shown.ok
    assert "bytes of code" in texts(shown.parts)[0]
    assert await bench.shown("print(x)") == ["1"]
    assert bench.sessions == 1


async def test_a_fault_of_a_server_is_raised_and_what_was_printed_before_is_journaled(bench: Bench) -> None:
    with pytest.raises(UnavailableError, match="subject server is down"):
        await bench.run("print('asking')\nreach('subject')")
    assert [event.kind for event in bench.events()] == ["block_started", "output"]
    assert bench.events(BlockOutput)[0].text == "asking\n"


async def test_a_tools_refusal_is_the_codes_to_handle(bench: Bench) -> None:
    code = "try:\n    refuse('no such image')\nexcept ToolError as error:\n    print('caught:', error)"
    assert await bench.shown(code) == ["caught: no such image"]


async def test_a_sandbox_host_that_goes_away_is_no_result_of_the_block(host: Host, tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal:
        record = Record(journal)
        transcript = Transcript(record)
        async with running([execution_service(host, 2)]) as server, RemoteHost(server.address) as remote:
            bench = SandboxWorkbench(record, transcript, lambda: remote.open(on_output=transcript.printed))
            assert (await bench.run(1, "print(1)")).ok
            block = asyncio.create_task(bench.run(2, "while True: pass"))
            await asyncio.sleep(0.2)
            await server.abort()
            with pytest.raises(InternalError, match=f"the sandbox failed.*{server.address}") as raised:
                await block
            await bench.close()
    assert raised.value.reason == "SANDBOX_FAILED"
    assert len([event for event in JournalReader(tmp_path).events if isinstance(event, BlockEnded)]) == 1


async def test_a_sandbox_that_opens_no_session_is_a_fault_of_the_system(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal:
        record = Record(journal)
        transcript = Transcript(record)
        closed = Host()
        bench = SandboxWorkbench(record, transcript, lambda: closed.open(on_output=transcript.printed))
        with pytest.raises(InternalError, match="the sandbox failed") as raised:
            await bench.run(1, "print(1)")
    assert raised.value.reason == "SANDBOX_FAILED"


async def test_all_that_one_block_shows_is_bounded(make: Callable[..., Awaitable[Bench]]) -> None:
    bench = await make(output_bytes=4 << 20)
    parts = await bench.shown("for i in range(60):\n    print(str(i % 10) * 15000)\n    show('s' * 15000)")
    assert sum(map(len, parts)) < MAX_BLOCK_CHARS + 200
    assert parts[-1].startswith("[… the last 114 texts")
    assert len(bench.events(BlockOutput)) == len(bench.events(Displayed)) == 60
    shown = await bench.run("show('a')\n1 / 0")
    assert "ZeroDivisionError" in texts(shown.parts)[-1]
