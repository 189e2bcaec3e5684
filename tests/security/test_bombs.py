"""Attacks by size: memory, CPU, output, messages."""

from __future__ import annotations

import resource
import zlib
from typing import Any

import pytest

from maia.sandbox import Limits

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIGHT = Limits(wall_s=1, cpu_s=0.5, memory_mb=128, output_bytes=20_000, threads=4)
ZEROS = zlib.compress(bytes(50 << 20), 9)


@pytest.mark.parametrize(
    "bomb",
    [
        "x = 'x' * (1 << 34)",
        "x = [0] * (1 << 33)",
        "x = [[]]\nwhile True:\n    x.append(list(x))",
        "x = np.ones(1 << 30)",
        "x = []\nwhile True:\n    x.append(np.ones(1 << 16))",
        "x = {}\nfor i in range(10**9):\n    x[i] = str(i)",
        "import mmap\nx = mmap.mmap(-1, 1 << 33)",
        "import mmap\nx = []\nwhile True:\n    x.append(mmap.mmap(-1, 1 << 22))\n    x[-1].write(b'x' * (1 << 22))",
        "import ctypes\nx = []\nwhile True:\n    x.append(ctypes.create_string_buffer(1 << 22))",
        "x = Image.new('RGB', (60000, 60000))",
        "x = ('%' + '9' * 9 + 'd') % 1",
        "def f():\n    return f()\nimport sys\nsys.setrecursionlimit(10**9)\nf()",
        f"import zlib\nx = []\nwhile True:\n    x.append(zlib.decompress({ZEROS!r}))",
    ],
)
async def test_memory_stays_within_the_sessions_share(attack: Any, bomb: str) -> None:
    async with attack(bomb, limits=TIGHT) as result:
        assert result.status in ("memory", "exception", "policy", "killed", "cpu", "wall_clock")
        if result.outcome:
            assert result.outcome.usage.peak_memory_bytes < 400 << 20


@pytest.mark.parametrize(
    "bomb",
    [
        "while True:\n    pass",
        "sum(range(10**12))",
        "9 ** 9 ** 9",
        "import re\nre.match('(a+)+$', 'a' * 40 + 'b')",
        "from collections import deque\nfrom itertools import repeat\ndeque(repeat(0), maxlen=0)",
        "np.linalg.svd(np.random.rand(4000, 400))\nwhile True:\n    np.sort(np.random.rand(1 << 20))",
        "while True:\n    try:\n        while True:\n            x = 1\n    except BaseException:\n        x = 2",
        (
            "import threading\ndef f():\n    while True: pass\n"
            "for _ in range(3):\n    threading.Thread(target=f).start()\nf()"
        ),
        (
            "import signal\nfor n in range(1, 65):\n    try:\n        signal.signal(n, signal.SIG_IGN)\n"
            "    except (OSError, ValueError):\n        pass\nwhile True: pass"
        ),
        "import faulthandler, gc\ngc.disable()\nclass A:\n    def __del__(self):\n        while True: pass\nA()",
        "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        continue",
        "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    ],
)
async def test_time_runs_out(attack: Any, bomb: str) -> None:
    async with attack(bomb, limits=TIGHT) as result:
        assert result.status in ("cpu", "wall_clock", "policy", "memory")
        if result.outcome and result.status != "policy":
            assert result.outcome.usage.cpu_s < 4


@pytest.mark.parametrize(
    "flood",
    [
        "while True:\n    print('x' * 10000)",
        "import os\nwhile True:\n    os.write(1, b'x' * 65536)",
        "import os\nwhile True:\n    os.write(2, bytes([0xff]) * 65536)",
        "import sys\nwhile True:\n    sys.stderr.write('x' * 10000)",
        "import os, threading\ndef f():\n    while True: os.write(1, b'x' * 65536)\nthreading.Thread(target=f).start()",
    ],
)
async def test_output_is_cut(attack: Any, flood: str) -> None:
    async with attack(flood, limits=TIGHT) as result:
        assert result.status in ("output", "policy", "ok")
        assert len(result.output) <= 20_100


@pytest.mark.parametrize(
    "message",
    [
        "raise ValueError('x' * (10 << 20))",
        "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E",
        "class E(Exception):\n    def __str__(self):\n        raise self\nraise E",
        "e = None\nfor i in range(100000):\n    n = ValueError(i)\n    n.__cause__ = e\n    e = n\nraise e",
        "raise ExceptionGroup('g', [ValueError('x' * 100000)] * 1000)",
    ],
)
async def test_the_account_of_an_error_is_bounded(attack: Any, message: str) -> None:
    async with attack(message, limits=TIGHT) as result:
        assert result.outcome is None or len(result.outcome.message) < 25_000


async def test_a_frame_that_grows_in_parsing_does_not_fill_the_hosts_memory(attack: Any) -> None:
    def field(number: str, length: str) -> str:
        return f"bytes([{number} << 3 | 2]) + varint({length})"

    code = (
        "import os\n"
        "def varint(n):\n    out = b''\n    while n > 127:\n        out += bytes([n & 127 | 128])\n        n >>= 7\n"
        "    return out + bytes([n])\n"
        "values = b'\\x1a\\x00' * (30 << 20)\n"
        f"body = {field('3', 'len(values)')} + values\n"
        "frame = len(body).to_bytes(4, 'big') + body\n"
        "while frame:\n    frame = frame[os.write(1000, frame[:1 << 20]):]\n"
        "import time\ntime.sleep(60)"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with attack(code, limits=Limits(wall_s=20, cpu_s=20, memory_mb=512)) as result:
        assert result.status in ("broken", "policy")
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 512 << 10
