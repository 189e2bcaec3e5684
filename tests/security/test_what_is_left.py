# ruff: noqa: ASYNC220, ASYNC240  processes and files are looked at between attacks, when nothing else runs
"""What attacks leave behind when their host has ended: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.security.attack import LIMITS, Tier
from tests.security.processes import below, living, of_session

from maia.sandbox import Host, SandboxError

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENDS = (
    "pass",
    "import os\nos._exit(3)",
    "import os\nos.write(1000, bytes(8))\nimport time\ntime.sleep(9)",
    "import ctypes\nctypes.CDLL(None).syscall(101, 0, 0, 0, 0)\nctypes.string_at(0)",
    "import os\nos.close(999)\nos.close(1000)",
    "x = bytearray(1 << 34)",
    "import threading, time\nfor _ in range(5):\n    threading.Thread(target=time.sleep, args=(60,)).start()",
    "for n in range(50):\n    open(str(n), 'w').write('x' * 1000)",
)


@dataclass(frozen=True)
class Traces:
    """What hosts have on this machine. The one that other tests use has a session ready in advance, and no more."""

    processes: set[int]
    descriptors: int
    groups: set[Path]
    mounts: set[str]

    @classmethod
    def now(cls) -> Traces:
        mounts = {row.split()[4] for row in Path("/proc/self/mountinfo").read_text().splitlines()}
        return cls(
            below(os.getpid()),
            len(list(Path("/proc/self/fd").iterdir())),
            set(Path("/sys/fs/cgroup").glob(f"**/maia-{os.getpid()}-*")),
            {mount for mount in mounts if "maia" in mount},
        )


async def test_a_host_leaves_no_process_descriptor_mount_group_or_folder(
    tier: Tier, host: Host, tmp_path: Path
) -> None:
    """`host` has shown that the tier works here; this one is opened beside it."""
    await asyncio.sleep(0.2)  # until what it has ready in advance is
    before = Traces.now()
    async with Host(tier=tier.name, cache_dir=tmp_path) as second:
        for end in ENDS[:3] if tier.container else ENDS:
            with contextlib.suppress(SandboxError):
                async with await second.open(policy="off", limits=LIMITS) as session:
                    await session.run(end)
        kept = [await second.open(policy="off", limits=LIMITS) for _ in range(2)]
        folder = (await kept[0].run("import os\nprint(os.getcwd())")).output.strip()
        during = Traces.now()
    deadline = time.monotonic() + 10
    while (left := _left(before, during, tier)) and time.monotonic() < deadline:  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.05)
    assert not left
    if not tier.own_names:
        assert not Path(folder).parent.exists()


def _left(before: Traces, during: Traces, tier: Tier) -> list[object]:
    """What one host had and another had not, and is there still."""
    after = Traces.now()
    left: list[object] = [*living(during.processes - before.processes), *(during.groups - before.groups) & after.groups]
    left += after.mounts - before.mounts
    if after.descriptors > before.descriptors and not tier.container:  # a pool comes and goes
        left.append(f"{after.descriptors - before.descriptors} descriptors")
    return left


PROGRAM = """
import asyncio, sys
from maia.sandbox import Host
async def main():
    async with Host(tier=sys.argv[1]) as host:
        sessions = [await host.open(policy="off") for _ in range(2)]
        await sessions[0].run("import threading, time\\nthreading.Thread(target=time.sleep, args=(60,)).start()")
        print(*(session.pid for session in sessions), flush=True)
        await sessions[0].run("while True: pass")
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_everything_ends_when_the_hosts_process_does(tier: Tier, host: Host, number: signal.Signals) -> None:
    if tier.container:
        pytest.skip("containers of a killed host end by themselves: tests/integration/sandbox/test_containers.py")
    with subprocess.Popen([sys.executable, "-c", PROGRAM, tier.name], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        pids = list(map(int, program.stdout.readline().split()))
        processes = {pid for guest in pids for pid in of_session(guest)} | below(program.pid)
        assert processes >= set(pids)
        os.kill(program.pid, number)
        deadline = time.monotonic() + 10
        while living(processes) and time.monotonic() < deadline:  # noqa: ASYNC110  the kernel tells nobody
            await asyncio.sleep(0.02)
    assert not living(processes)


async def test_a_host_whose_zygote_is_killed_opens_sessions_again(tier: Tier, host: Host, tmp_path: Path) -> None:
    if tier.container:
        pytest.skip("each container has a zygote of its own")
    async with Host(tier=tier.name, cache_dir=tmp_path) as second:
        async with await second.open(policy="off", limits=LIMITS) as session:
            guest = session.pid
            assert guest is not None
            supervisor = int(Path(f"/proc/{guest}/stat").read_text().rpartition(")")[2].split()[1])
            zygote = int(Path(f"/proc/{supervisor}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(zygote, signal.SIGKILL)
            await asyncio.sleep(0.3)
        async with await second.open(policy="off", limits=LIMITS) as again:
            assert (await again.run("print(1)")).output == "1\n"
