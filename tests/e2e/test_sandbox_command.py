"""`maia sandbox` and `maia serve sandbox` as a person runs them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from maia.orchestrator.events import RunStarted
from maia.orchestrator.journal import JournalReader

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Maia

Left = Callable[[], Sequence[str]]


@contextmanager
def served(maia: Maia, *flags: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A sandbox host on a free port, its address, and its process."""
    cache = maia.environment["MAIA_CACHE_DIR"]
    listen = ("--listen", "127.0.0.1:0", "--announce", "--cache-dir", cache)
    with maia.start("serve", "sandbox", *listen, *flags) as process:
        try:
            assert process.stdout is not None
            yield str(json.loads(process.stdout.readline())["address"]), process
        finally:
            process.terminate()
            process.communicate(timeout=30)


def write(maia: Maia, **sources: str) -> list[str]:
    for name, source in sources.items():
        (maia.folder / f"{name}.py").write_text(source)
    return [f"{name}.py" for name in sources]


def test_files_are_blocks_of_one_session(maia: Maia, no_processes_left: Left) -> None:
    files = write(maia, one="x = 6\nprint('one')", two="print(x * 7)")
    ended = maia("sandbox", "run", *files)
    assert (ended.code, ended.out, ended.err) == (0, "one\n42\n", "")
    assert no_processes_left() == []


def test_a_block_that_fails_is_explained_on_standard_error_and_is_the_last(maia: Maia) -> None:
    files = write(maia, one="print('one')\n1 / 0", two="print('two')")
    ended = maia("sandbox", "run", *files)
    assert (ended.code, ended.out) == (1, "one\n")
    assert ended.err.endswith("ZeroDivisionError: division by zero\n")
    assert "1 / 0" in ended.err
    refused = maia("sandbox", "run", *write(maia, three="import os"))
    assert refused.code == 1
    assert "cannot be imported" in refused.err
    assert maia("sandbox", "run", "--policy", "off", "three.py").code == 0


def test_outcomes_as_json(maia: Maia) -> None:
    files = write(maia, one="x = 1\nprint('é\x1b')", two="while True: pass", three="print('never')")
    ended = maia("sandbox", "run", "--json", "--wall-s", "0.5", *files)
    first, second = [json.loads(line) for line in ended.out.splitlines()]
    assert (ended.code, ended.err) == (1, "")
    assert (first["file"], first["status"], first["output"], first["state"]) == ("one.py", "ok", "é\x1b\n", "kept")
    assert (second["status"], second["usage"]["wall_s"] >= 0.5) == ("wall_clock", True)


def test_standard_input_and_the_seed(maia: Maia) -> None:
    command = [sys.executable, "-m", "maia.cli", "sandbox", "run", "--seed", "7", "-"]
    code = "import random\nprint(random.random())"
    outputs = {
        subprocess.run(command, input=code, capture_output=True, text=True, env=maia.environment, check=True).stdout
        for _ in range(2)
    }
    assert len(outputs) == 1


def test_output_comes_as_it_is_printed_and_ctrl_c_stops_the_block(maia: Maia, no_processes_left: Left) -> None:
    files = write(maia, one="print('begun')\nwhile True: pass", two="print('never')")
    with maia.start("sandbox", "run", *files) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert no_processes_left() == []


def test_a_terminal_is_told_nothing_that_it_would_obey(maia: Maia) -> None:
    (file,) = write(maia, one="print('\\x1b]0;owned\\x07', 'é')\nraise ValueError('\\x1b[2J')")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "maia.cli", "sandbox", "run", file]
    with subprocess.Popen(command, cwd=maia.folder, env=maia.environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while process.poll() is None or shown == b"":
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
    os.close(ours)
    text = shown.decode()
    assert "\x1b" not in text
    assert "␛]0;owned␇ é" in text
    assert "ValueError: ␛[2J" in text


def test_no_isolation_needs_a_word_and_gets_a_warning(maia: Maia) -> None:
    (file,) = write(maia, one="print('ran')")
    refused = maia("sandbox", "run", "--tier", "none", file)
    assert (refused.code, refused.out) == (1, "")
    assert "--allow-unisolated" in refused.err
    allowed = maia("sandbox", "run", "--tier", "none", "--allow-unisolated", file)
    assert (allowed.code, allowed.out) == (0, "ran\n")
    assert allowed.err == "warning: nothing is isolated: the code can do all that you can\n"


def test_tiers_are_listed(maia: Maia, no_processes_left: Left) -> None:
    ended = maia("sandbox", "tiers")
    assert ended.code in (0, 1)
    assert all(f" {tier} " in ended.out for tier in ("jail", "gvisor", "docker", "landlock", "none"))
    assert ("auto takes" in ended.out) == (ended.code == 0)
    assert ended.err == ""
    assert no_processes_left() == []


def test_a_host_elsewhere_serves_until_it_is_full(maia: Maia, no_processes_left: Left) -> None:
    (quick, endless) = write(maia, quick="print(6 * 7)", endless="print('begun')\nwhile True: pass")
    with served(maia, "--max-sessions", "1") as (address, server):
        here = maia("sandbox", "run", "--address", address, quick)
        assert (here.code, here.out, here.err) == (0, "42\n", "")
        doctor = maia("doctor", "--sandbox-address", address)
        assert f"the sandbox host at {address} isolates by the tier" in doctor.out
        assert "0 of 1 sessions" in doctor.out
        with maia.start("sandbox", "run", "--address", address, endless) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "begun\n"
            full = maia("sandbox", "run", "--address", address, quick)
            assert full.code == 1
            assert "has 1 open sessions, as many as it may" in full.err
            os.killpg(holder.pid, signal.SIGINT)
            _, err = holder.communicate(timeout=20)
        assert (holder.returncode, err) == (130, "interrupted\n")
        assert maia("sandbox", "run", "--address", address, quick).code == 0
        server.terminate()
        server.wait(timeout=30)
        gone = maia("sandbox", "run", "--address", address, quick)
        assert gone.code == 1
        assert gone.err.startswith(f"error: the sandbox host at {address} does not answer")
    assert no_processes_left() == []


def test_a_host_that_is_killed_ends_the_commands_that_use_it(maia: Maia, no_processes_left: Left) -> None:
    (endless,) = write(maia, endless="print('begun')\nwhile True: pass")
    with served(maia) as (address, server), maia.start("sandbox", "run", "--address", address, endless) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "begun\n"
        server.kill()
        _, err = client.communicate(timeout=20)
        assert client.returncode == 1
        assert err.startswith("error: the session at the sandbox host 127.0.0.1:")
    assert no_processes_left() == []


def test_serve_passes_flags_and_says_what_is_wrong(maia: Maia) -> None:
    helped = maia("serve", "sandbox", "--help")
    assert helped.code == 0
    assert "--max-sessions" in helped.out
    for flags, said in (
        (("--max-sessions", "0"), "max_sessions"),
        (("--tier", "castle"), "tier: Input should be 'auto', 'jail'"),
        (("--tier", "none"), "--allow-unisolated"),
        (("--listen", "0.0.0.0:7416"), "not on this machine"),
    ):
        ended = maia("serve", "sandbox", *flags)
        assert ended.code == 2, ended.err
        assert said in ended.err.splitlines()[-1]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_a_run_journals_the_tier_and_what_it_enforces(maia: Maia, elsewhere: bool, no_processes_left: Left) -> None:
    def run(*flags: str) -> RunStarted:
        ended = maia("run", "--up", "--model", "scene-neurons", "--units", "mono=10", "--out", "out", *flags)
        assert ended.code == 0, ended.err
        started = JournalReader(journal_folder(maia.folder)).events[0]
        assert isinstance(started, RunStarted)
        return started

    if elsewhere:
        with served(maia) as (address, _):
            started = run("--sandbox-address", address, "--policy", "off")
            assert started.config["sandbox_address"] == address
    else:
        started = run("--sandbox-tier", "none", "--allow-unisolated")
        assert started.sandbox["tier"] == "none"
    assert "seccomp" in {feature["name"] for feature in started.sandbox["features"]}
    assert started.sandbox["policy"] == ("off" if elsewhere else "restricted")
    assert no_processes_left() == []


def journal_folder(folder: Path) -> Path:
    return folder / "out" / "scripted" / "scene-neurons" / "mono" / "10"


def test_a_slow_reader_of_standard_output_loses_nothing(maia: Maia) -> None:
    (file,) = write(maia, one="for i in range(20000): print(i)")
    with maia.start("sandbox", "run", file) as process:
        time.sleep(1.0)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines() == [str(i) for i in range(20000)]
