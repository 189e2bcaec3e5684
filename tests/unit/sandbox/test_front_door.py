"""`Sandbox` and `SyncSandbox`: what is refused before anything starts, and life without an event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from maia.sandbox import (
    ProtocolError,
    Sandbox,
    SandboxError,
    SessionError,
    State,
    Status,
    SyncSandbox,
    TierUnavailableError,
    Tool,
)


def search(word: str) -> str:
    """Search."""
    return word.upper()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "maia-sandbox"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("form", [Sandbox, SyncSandbox])
@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"tools": [search, search]}, ValueError, "'search' is given twice"),
        ({"tools": [search], "constants": {"search.x": 1}}, ValueError, "both"),
        ({"tools": [lambda x: x]}, ValueError, "no type hint|no name"),
        ({"constants": {"x": {1, 2}}}, ProtocolError, "type set"),
        ({"policy": "loose"}, ValueError, "policy 'loose'"),
        ({"seed": 2**64}, ValueError, "seed"),
        ({"tier": "castle"}, ValueError, "castle.*jail"),
        ({"address": "nowhere"}, ValueError, "no address"),
        ({"address": "127.0.0.1:1", "tier": "jail"}, ValueError, "leave out tier='jail'"),
    ],
    ids=lambda value: "" if isinstance(value, type) else str(value)[:30],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    form: type[Sandbox | SyncSandbox], arguments: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        form(**arguments)


def test_a_script_runs_blocks_with_tools_of_its_own(cache: Path) -> None:
    seen: list[str] = []
    box = SyncSandbox(tools=[Tool.of(search, "tools.search")], on_output=seen.append, cache_dir=cache)
    with pytest.raises(SessionError, match="with SyncSandbox"):
        box.run("pass")
    with box:
        assert box.tier
        assert box.features
        assert box.run("x = tools.search('lamp')").ok
        outcome = box.run("print(x)\n1 / 0")
        alive = [box.alive]
    alive.append(box.alive)
    assert alive == [True, False]
    assert outcome.output == "".join(seen) == "LAMP\n"
    assert outcome.status is Status.EXCEPTION
    assert threads() == []
    with pytest.raises(SessionError, match="not open"):
        box.run("pass")
    with box:  # and once more
        assert box.run("print(1)").output == "1\n"


async def test_it_works_beside_a_running_loop_as_in_a_notebook(cache: Path) -> None:
    assert asyncio.get_running_loop().is_running()
    with SyncSandbox(cache_dir=cache) as box:
        assert box.run("print(1)").output == "1\n"


def test_another_thread_interrupts(cache: Path) -> None:
    with SyncSandbox(cache_dir=cache) as box:
        box.run("x = 1")
        timer = threading.Timer(0.3, box.interrupt)
        timer.start()
        outcome = box.run("while True: pass")
        timer.join()
        assert (outcome.status, outcome.state) == (Status.INTERRUPTED, State.KEPT)
        assert box.run("print(x)").output == "1\n"


def test_a_tool_that_fails_leaves_run(cache: Path) -> None:
    def broken() -> None:
        """Fail."""
        raise LookupError("no such shelf")

    with SyncSandbox(tools=[broken], cache_dir=cache) as box:
        with pytest.raises(LookupError, match="no such shelf"):
            box.run("broken()")
        with pytest.raises(SessionError):
            box.run("pass")


def test_a_host_that_does_not_answer_is_told_and_leaves_no_thread() -> None:
    with pytest.raises(SandboxError, match=r"127\.0\.0\.1:1"), SyncSandbox(address="127.0.0.1:1"):
        pass
    for _ in range(100):
        if not threads():
            return
        time.sleep(0.01)
    pytest.fail("a thread is left")


def test_no_isolation_needs_a_word_of_its_own(cache: Path) -> None:
    with pytest.raises(TierUnavailableError, match="allow-unisolated"), SyncSandbox(tier="none", cache_dir=cache):
        pass


def test_ctrl_c_stops_the_block_and_is_raised_with_the_variables_still_there(cache: Path) -> None:
    program = (
        "import pathlib, sys\n"
        "from maia.sandbox import SyncSandbox\n"
        "with SyncSandbox(cache_dir=pathlib.Path(sys.argv[1])) as box:\n"
        "    box.run('x = 1')\n"
        "    print('running', flush=True)\n"
        "    try:\n"
        "        box.run('while True: pass')\n"
        "    except KeyboardInterrupt:\n"
        "        print(box.run('print(x)').output, end='')\n"
    )
    command = [sys.executable, "-c", program, str(cache)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (out, process.returncode) == ("1\n", 0), err


@pytest.mark.parametrize("code", ["import maia.sandbox as s; s.Sandbox(); s.SyncSandbox(); s.Host()"])
def test_who_stays_on_this_machine_does_not_load_grpc(code: str) -> None:
    program = f"import sys; {code}; print([name for name in ('grpc', 'maia.wire', 'pydantic') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
