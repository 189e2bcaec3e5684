"""Servers as child processes: real ones, of a server that starts quickly."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from maia.cli.children import Children, ServerCommand
from maia.cli.config import environment_without_keys
from maia.cli.errors import ServerDiedError
from maia.wire.channels import open_channel, wait_until_serving

SERVER = ServerCommand("description", ("--listen", "127.0.0.1:0"))
OTHER = ServerCommand("generation", ("--listen", "127.0.0.1:0"))

PARENT = """
import asyncio, os, sys
from pathlib import Path
from maia.cli.children import Children, ServerCommand
async def main():
    async with Children(Path(sys.argv[1]), dict(os.environ)) as children:
        [child] = await children.start([ServerCommand("description", ("--listen", "127.0.0.1:0"))])
        print(child.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def children_in(folder: Path) -> Children:
    return Children(folder / "logs", environment_without_keys())


def names_in(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def gone(pid: int) -> bool:
    """Whether a process has ended; waits for it, since a child of a dead parent ends by itself."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


async def test_servers_serve_at_the_address_that_they_announce_and_end_with_the_block(tmp_path: Path) -> None:
    async with children_in(tmp_path) as children:
        started = await children.start([SERVER, OTHER])
        assert len({child.address for child in started}) == 2
        for child in started:
            async with open_channel(child.address) as channel:
                await wait_until_serving(channel, server=child.name, timeout_s=5)
        children.check()
    assert all(child.process.returncode == 0 for child in started)


async def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ServerDiedError, match=r"^the description server: .*not on this machine") as caught:
        async with children_in(tmp_path) as children:
            await children.start([OTHER, ServerCommand("description", ("--listen", "192.0.2.1:7000"))])
    assert caught.value.mendable


async def test_a_server_that_dies_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    async with children_in(tmp_path) as children:
        [child] = await children.start([SERVER])
        child.process.kill()
        error = await asyncio.wait_for(children.wait_for_an_end(), 10)
        with pytest.raises(ServerDiedError):
            children.check()
    assert "the description server ended (signal 9); the end of its log:" in error.message
    assert "serving" in error.message
    assert not error.mendable


async def test_without_a_folder_a_log_is_told_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with Children(None, environment_without_keys()) as children:
        [child] = await children.start([SERVER])
        assert names_in(tmp_path) == []
        child.process.kill()
        error = await asyncio.wait_for(children.wait_for_an_end(), 10)
    assert "serving" in error.message


async def test_a_module_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ServerDiedError, match="No module named"):
        async with children_in(tmp_path) as children:
            await children.start([ServerCommand("nothing")])


async def test_ctrl_c_in_the_terminal_does_not_reach_the_servers(tmp_path: Path) -> None:
    async with children_in(tmp_path) as children:
        [child] = await children.start([SERVER])
        assert os.getpgid(child.pid) != os.getpgid(0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_servers_end_when_their_parent_is_killed(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(number)
        parent.wait(10)
    assert gone(pid)
