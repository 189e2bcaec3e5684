"""Attacks by size: memory, CPU, output, descriptors, disk, what is compressed."""

from __future__ import annotations

import base64
import os
import resource
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from tests.security.attack import LIMITS, Tier, each, once_in_containers
from tests.security.conftest import Attack

from maia.sandbox import Host

pytestmark = [pytest.mark.asyncio(loop_scope="session"), once_in_containers]

TIGHT = replace(LIMITS, wall_s=0.8, cpu_s=0.8)
SHORT = replace(LIMITS, wall_s=0.25, cpu_s=0.12)
ZEROS = base64.b85encode(zlib.compress(bytes(50 << 20), 9)).decode()

MEMORY = {
    "one long text": "x = 'x' * (1 << 34)",
    "one long list": "x = [0] * (1 << 33)",
    "one large array": "x = np.ones(1 << 30)",
    "an array that is only promised": "x = np.zeros(1 << 36)",
    "one large picture": "x = Image.new('RGB', (60000, 60000))",
    "one large canvas": "import matplotlib.pyplot as plt\nplt.figure(figsize=(900, 900), dpi=100).savefig('x.png')",
    "one wide number in a format": "x = ('%' + '9' * 9 + 'd') % 1",
    "one wide field in a format": "x = '{:>9999999999}'.format(1)",
    "one large mapping": "import mmap\nx = mmap.mmap(-1, 1 << 33)",
    "many small objects": "x = {}\nfor i in range(10**9):\n    x[i] = str(i)",
    "lists of lists": "x = [[]]\nwhile True:\n    x.append(list(x))",
    "many arrays": "x = []\nwhile True:\n    x.append(np.ones(1 << 16))",
    "many mappings that are written": """
        import mmap
        x = []
        while True:
            x.append(mmap.mmap(-1, 1 << 22))
            x[-1].write(b'x' * (1 << 22))
    """,
    "many mappings that are shared": """
        import mmap
        x = []
        while True:
            x.append(mmap.mmap(-1, 1 << 20, mmap.MAP_SHARED))
    """,
    "a mapping that grows": """
        import ctypes
        libc = ctypes.CDLL(None)
        libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
        size = 1 << 20
        place = libc.mmap(None, ctypes.c_size_t(size), 3, 0x22, -1, 0)
        while place != 2**64 - 1:
            place = libc.mremap(ctypes.c_void_p(place), ctypes.c_size_t(size), ctypes.c_size_t(2 * size), 1)
            size *= 2
        raise MemoryError
    """,
    "the heap's end": """
        import ctypes
        libc = ctypes.CDLL(None)
        libc.sbrk.restype = ctypes.c_void_p
        while libc.sbrk(ctypes.c_long(1 << 20)) != 2**64 - 1:
            pass
        raise MemoryError
    """,
    "the C library's blocks": "import ctypes\nx = []\nwhile True:\n    x.append(ctypes.create_string_buffer(1 << 22))",
    "memory that may not be swapped": """
        import ctypes
        x = ctypes.create_string_buffer(1 << 20)
        if ctypes.CDLL(None).mlock(x, 1 << 20) != 0:
            raise MemoryError
    """,
    "a stack without a bound": "def f():\n    return f()\nimport sys\nsys.setrecursionlimit(10**9)\nf()",
    "threads with large stacks": """
        import threading, time
        threading.stack_size(1 << 28)
        while True:
            threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
    """,
    "a generator that never ends": "x = tuple(iter(int, 1))",
    "a string that doubles": "x = 'x'\nwhile True:\n    x += x",
    "an integer that doubles": "x = 7\nwhile True:\n    x *= x",
    "a syntax tree": "import ast\nx = ast.parse('-' * 10**6 + '1')",
    "code that compiles to much": "x = compile('x = (' + '1,' * 10**7 + ')', '', 'exec')",
    "a stream of bytes from the compressor": f"""
        import base64, zlib
        data = base64.b85decode({ZEROS!r})
        x = []
        while True:
            x.append(zlib.decompress(data))
    """,
}


@each("bomb", MEMORY)
async def test_memory_stays_within_the_sessions_share(attack: Attack, bomb: str) -> None:
    async with attack(bomb, limits=TIGHT) as result:
        assert result.status in ("memory", "exception", "policy", "killed", "cpu", "wall_clock"), result.status
        if result.outcome:
            assert result.outcome.usage.peak_memory_bytes < 600 << 20


@each("bomb", {name: MEMORY[name] for name in ("many arrays", "many mappings that are written")})
async def test_memory_and_tmp_together_stay_within_their_share(attack: Attack, host: Host, bomb: str) -> None:
    async with attack(
        f"try:\n    open('x', 'wb').write(bytes(1 << 30))\nexcept OSError:\n    pass\n{bomb}", limits=TIGHT
    ) as r:
        assert r.status in ("memory", "exception", "policy", "killed", "cpu", "wall_clock")


TIME = {
    "a loop": "while True:\n    pass",
    "a sum in C": "sum(range(10**12))",
    "one large power": "9 ** 9 ** 9",
    "a power that takes its digits": "str(7 ** 10**7)",
    "a regular expression that backtracks": "import re\nre.match('(a+)+$', 'a' * 40 + 'b')",
    "a queue that takes without end": (
        "from collections import deque\nfrom itertools import repeat\ndeque(repeat(0), maxlen=0)"
    ),
    "a sort with a comparison that never ends": "sorted([1, 2], key=lambda _: [0 for _ in iter(int, 1)])",
    "a decomposition in Fortran": (
        "np.linalg.svd(np.random.rand(4000, 400))\nwhile True:\n    np.sort(np.random.rand(1 << 20))"
    ),
    "a convolution": "while True:\n    np.convolve(np.ones(1 << 20), np.ones(1 << 12))",
    "a filter over a picture": (
        "from PIL import ImageFilter\nx = Image.new('L', (3000, 3000))\n"
        "while True:\n    x.filter(ImageFilter.MedianFilter(9))"
    ),
    "a loop that swallows every exception": """
        while True:
            try:
                while True:
                    x = 1
            except BaseException:
                x = 2
    """,
    "a handler that raises what it handles": """
        def again():
            try:
                while True:
                    pass
            finally:
                again()
        again()
    """,
    "threads that compute": """
        import threading
        def f():
            while True: pass
        for _ in range(3):
            threading.Thread(target=f).start()
        f()
    """,
    "machine code that loops": """
        import ctypes, mmap
        page = mmap.mmap(-1, 4096, prot=7)
        page.write(bytes([0xeb, 0xfe]))
        ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    """,
    "every signal ignored": """
        import signal
        for n in range(1, 65):
            try:
                signal.signal(n, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True: pass
    """,
    "a destructor that never ends": """
        import gc
        gc.disable()
        class A:
            def __del__(self):
                while True: pass
        A()
    """,
    "a destructor that runs when the block is over": """
        class A:
            def __del__(self):
                while True: pass
        a = [A()]
        a.append(a)
        del a
        import gc
        gc.collect()
    """,
    "a finally that never ends": "try:\n    1 / 0\nfinally:\n    while True: pass",
    "a context that never exits": """
        class A:
            def __enter__(self): pass
            def __exit__(self, *_):
                while True: pass
        with A():
            pass
    """,
    "an exit that waits for exits": """
        import atexit, sys
        def again():
            while True: pass
        atexit.register(again)
        sys.exit()
        again()
    """,
    "a comparison that never ends": "class A:\n    def __eq__(self, other):\n        while True: pass\nA() == A()",
    "a hash that never ends": "class A:\n    def __hash__(self):\n        while True: pass\n{A(): 1}",
    "an import that never ends": """
        import sys
        class Finder:
            def find_spec(self, *_):
                while True: pass
        sys.meta_path.insert(0, Finder())
        import nothing
    """,
    "a sleep that swallows every exception": """
        import time
        while True:
            try:
                time.sleep(60)
            except BaseException:
                continue
    """,
    "a lock that nobody gives back": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    "a read from a pipe that nobody writes": "import os\nos.read(os.pipe()[0], 1)",
    "a read of random bytes": "import os\nwhile True:\n    os.urandom(1 << 25)",
    "a read of zeros": "f = open('/dev/zero', 'rb')\nwhile True:\n    f.read(1 << 25)",
    "a flood of system calls": "import os\nwhile True:\n    os.getppid()",
    "a flood of refused forks": """
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
    """,
    "a flood of names that are not there": "import os\nwhile True:\n    os.path.exists('x' * 200)",
}


@each("bomb", TIME)
async def test_time_runs_out(attack: Attack, bomb: str) -> None:
    async with attack(bomb, limits=SHORT) as result:
        assert result.status in ("cpu", "wall_clock", "policy", "memory", "exception"), (result.status, result.message)
        if result.outcome and not result.early:
            assert result.outcome.usage.cpu_s < 4
            assert result.outcome.usage.wall_s < 4


FLOODS = {
    "prints": "while True:\n    print('x' * 10000)",
    "one endless line": "while True:\n    print('x' * 10000, end='')",
    "one print that is too long": "print('x' * (1 << 26))",
    "writes to the descriptor": "import os\nwhile True:\n    os.write(1, b'x' * 65536)",
    "bytes that are no text": "import os\nwhile True:\n    os.write(2, bytes([0xff]) * 65536)",
    "beginnings of characters": "import os\nwhile True:\n    os.write(1, bytes([0xf0, 0x9f]) * 9999)",
    "one byte at a time": "import os\nwhile True:\n    os.write(1, b'x')",
    "one character in single bytes": """
        import os
        while True:
            for byte in '💣'.encode():
                os.write(1, bytes([byte]))
    """,
    "packets of one byte": """
        import fcntl, os
        fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK)
        while True:
            try:
                os.write(1, b'x')
            except BlockingIOError:
                pass
    """,
    "standard errors": "import sys\nwhile True:\n    sys.stderr.write('x' * 10000)",
    "warnings": "import warnings\nwarnings.simplefilter('always')\nwhile True:\n    warnings.warn('x' * 1000)",
    "a thread's": """
        import os, threading
        def f():
            while True: os.write(1, b'x' * 65536)
        threading.Thread(target=f).start()
    """,
    "control characters": "while True:\n    print('\\x1b]52;c;eA==\\x07\\x1b[2J' * 1000)",
}


@each("flood", FLOODS)
async def test_output_is_cut(attack: Attack, flood: str) -> None:
    async with attack(flood, limits=SHORT) as result:
        assert result.status in ("output", "policy", "ok", "cpu", "wall_clock", "memory"), result.status
        assert len(result.output.encode()) <= 3 * 20_000 + 100  # a byte that is no text is shown by a sign of three
        result.output.encode()


OUTPUTS = {
    "its output is closed": "import os\nos.close(1)\nos.close(2)\nprint('x')",
    "its output is another file": "import os\nos.dup2(os.open('x', os.O_CREAT | os.O_WRONLY), 1)\nprint('x')",
    "its output is the channel": "import os\nos.dup2(1000, 1)",
    "sys.stdout is nothing": "import sys\nsys.stdout = None\nprint('x')",
    "sys.stdout is something else": "import sys\nsys.stdout = 3\nprint('x')",
    "sys.stdout refuses to be flushed": """
        import sys
        class Out:
            def write(self, text): pass
            def flush(self):
                raise KeyboardInterrupt
        sys.stdout = Out()
    """,
    "its output does not wait": "import os\nos.set_blocking(1, False)\nprint('x' * 10**6)",
}


@each("code", OUTPUTS)
async def test_a_guest_that_spoils_its_output_spoils_its_own(attack: Attack, code: str) -> None:
    async with attack(code, fresh=True) as result:
        assert result.status in ("ok", "policy", "exception", "killed", "output", "broken"), result.status


MESSAGES = {
    "a long text": "raise ValueError('x' * (10 << 20))",
    "a text that never ends": "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E",
    "a text that raises": "class E(Exception):\n    def __str__(self):\n        raise self\nraise E",
    "a text that is no text": "class E(Exception):\n    def __str__(self):\n        return 3\nraise E",
    "a text of lone surrogates": "raise ValueError('\\ud800' * 1000)",
    "a name of lone surrogates": "raise type('\\ud800', (Exception,), {})",
    "a chain of causes": """
        e = None
        for i in range(100000):
            n = ValueError(i)
            n.__cause__ = e
            e = n
        raise e
    """,
    "a ring of causes": "e = ValueError(1)\nf = ValueError(2)\ne.__cause__ = f\nf.__cause__ = e\nraise e",
    "a group of many": "raise ExceptionGroup('g', [ValueError('x' * 100000)] * 1000)",
    "groups in groups": """
        e = ValueError()
        for _ in range(1000):
            e = ExceptionGroup('g', [e])
        raise e
    """,
    "many notes": "e = ValueError()\nfor _ in range(10**5):\n    e.add_note('x' * 100)\nraise e",
    "a syntax error with a long line": "exec('(' + 'x' * 10**6)",
    "a deep recursion": "def f(n):\n    f(n + 1)\nf(0)",
    "an exit": "raise SystemExit('x' * (1 << 20))",
    "an interrupt": "raise KeyboardInterrupt",
    "the runner's own": """
        import maia.sandbox.guest.runner as runner
        raise runner.Stopped
    """,
    "no exception at all": "raise 3",
}


@each("message", MESSAGES)
async def test_the_account_of_an_error_is_bounded(attack: Attack, message: str) -> None:
    async with attack(message, limits=SHORT) as result:
        assert len(result.message) < 25_000
        assert result.status != "ok"


DESCRIPTORS = {
    "files": "x = []\nwhile True:\n    x.append(open('/dev/null'))",
    "pipes": "import os\nwhile True:\n    os.pipe()",
    "duplicates": "import os\nwhile True:\n    os.dup(1)",
    "duplicates at high numbers": "import os\nfor n in range(3, 5000):\n    os.dup2(1, n)",
    "duplicates from a number on": "import fcntl\nwhile True:\n    fcntl.fcntl(1, fcntl.F_DUPFD, 900)",
    "queues of events": "import select\nx = []\nwhile True:\n    x.append(select.epoll())",
    "counters of events": """
        import ctypes
        libc = ctypes.CDLL(None)
        while libc.eventfd(0, 0) >= 0:
            pass
        raise OSError
    """,
    "directories": "import os\nwhile True:\n    os.open('.', os.O_RDONLY | os.O_DIRECTORY)",
}


@each("bomb", DESCRIPTORS)
async def test_descriptors_run_out_for_the_guest_alone(attack: Attack, bomb: str) -> None:
    async with attack(bomb, fresh=True) as result:
        assert result.status in ("exception", "policy"), result.status


INHERITED = """
import os, stat
kinds = {}
for number in range(5000):
    try:
        kinds[number] = stat.S_IFMT(os.fstat(number).st_mode)
    except OSError:
        pass
print(*((number, oct(kind)) for number, kind in kinds.items()))
"""
OWN = "(0, '0o20000') (1, '0o10000') (2, '0o10000') (999, '0o140000') (1000, '0o140000')\n"
"""A device that is empty, a pipe twice, the line to the supervisor, the channel."""


async def test_descriptors_are_limited_and_none_is_inherited(attack: Attack) -> None:
    async with attack(INHERITED, fresh=True) as result:
        assert result.said(OWN), result.output


async def test_a_host_with_many_open_files_leaves_none_to_its_guests(tier: Tier, tmp_path: Path) -> None:
    if tier.container:
        pytest.skip("a container inherits nothing from this process")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    held: list[int] = []
    try:
        while not held or held[-1] < 1100:
            held.append(os.dup(0))
        async with (
            Host(tier=tier.name, cache_dir=tmp_path) as crowded,
            await crowded.open(policy="off", limits=LIMITS) as session,
        ):
            outcome = await session.run(INHERITED)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert outcome.output == OWN


DISK = {
    "one file that grows": "f = open('a', 'wb')\nwhile True:\n    f.write(b'x' * 65536)",
    "one file that is long and empty": "f = open('a', 'wb')\nf.truncate(1 << 40)",
    "one file that is written far out": "f = open('a', 'wb')\nf.seek(1 << 40)\nf.write(b'x')\nf.flush()",
    "one file that is allocated": "import os\nos.posix_fallocate(os.open('a', os.O_CREAT | os.O_WRONLY), 0, 1 << 40)",
    "one array on disk": "np.memmap('a', mode='w+', shape=(1 << 40,))",
    "one picture": "Image.new('RGB', (2000, 2000)).save('a.bmp')",
}

DISK_IN_TOTAL = {
    "many files": "for i in range(10**6):\n    open(str(i), 'wb').write(b'x' * 1024)",
    "many empty files": "for i in range(10**6):\n    open(str(i), 'w').close()",
    "many directories": "import os\nfor i in range(10**6):\n    os.mkdir(str(i))",
    "directories in directories": "import os\nfor i in range(10**6):\n    os.mkdir('d')\n    os.chdir('d')",
    "many long names": "for i in range(10**6):\n    open('x' * 240 + str(i), 'w').close()",
    "many files of the largest size": """
        for i in range(10**6):
            with open(str(i), 'wb') as file:
                try:
                    while True:
                        file.write(bytes(1 << 20))
                except OSError as error:
                    if error.errno != 27:
                        raise
    """,
}


@each("bomb", DISK)
async def test_one_file_ends_at_the_sessions_share(attack: Attack, bomb: str) -> None:
    free = shutil.disk_usage("/tmp").free
    async with attack(bomb, fresh=True) as result:
        assert result.status in ("exception", "policy", "memory"), result.status
        assert free - shutil.disk_usage("/tmp").free < 64 << 20


@each("bomb", DISK_IN_TOTAL)
async def test_filling_the_disk_stops_at_the_sessions_share(attack: Attack, tier: Tier, bomb: str) -> None:
    if not tier.bounded_tmp:
        pytest.skip("not enforced: without a file system of its own a session's files are bounded one by one")
    free = shutil.disk_usage("/tmp").free
    async with attack(bomb, fresh=True) as result:
        assert result.status in ("exception", "policy", "cpu", "wall_clock"), result.status
        assert free - shutil.disk_usage("/tmp").free < 64 << 20


COMPRESSED = {
    "zlib": "import base64, zlib\nx = zlib.decompress(base64.b85decode(DATA))\nx = x * 20",
    "zlib in zlib": """
        import base64, zlib
        d = zlib.decompress(base64.b85decode(DATA))
        while True:
            d = zlib.decompress(zlib.compress(d * 2))
    """,
    "an archive": """
        import base64, io, zipfile, zlib
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
            for n in range(20):
                archive.writestr(str(n), zlib.decompress(base64.b85decode(DATA)))
        zipfile.ZipFile(buffer).extractall('.')
    """,
    "a tar file": """
        import base64, io, tarfile, zlib
        data = zlib.decompress(base64.b85decode(DATA))
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode='w:gz') as archive:
            info = tarfile.TarInfo('x')
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        buffer.seek(0)
        tarfile.open(fileobj=buffer).extractall('.')
    """,
    "lzma": """
        import base64, lzma, zlib
        x = lzma.decompress(lzma.compress(zlib.decompress(base64.b85decode(DATA)), preset=0)) * 20
    """,
    "an array": """
        import base64, io, zlib
        buffer = io.BytesIO()
        np.savez_compressed(buffer, x=np.frombuffer(zlib.decompress(base64.b85decode(DATA)), 'u1'))
        x = [np.load(io.BytesIO(buffer.getvalue()))['x'].copy() for _ in range(20)]
    """,
    "a picture of half a gigabyte": """
        import io, struct, zlib
        def chunk(kind, data):
            return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        compressor = zlib.compressobj(9)
        rows = b''.join(compressor.compress(bytes(13001 * 1000)) for _ in range(39)) + compressor.flush()
        png = bytes([0x89]) + b'PNG\\r\\n' + bytes([0x1a]) + b'\\n'
        png += chunk(b'IHDR', struct.pack('>IIBBBBB', 13000, 39000, 8, 0, 0, 0, 0))
        png += chunk(b'IDAT', rows) + chunk(b'IEND', b'')
        Image.MAX_IMAGE_PIXELS = None
        print(len(png))
        x = Image.open(io.BytesIO(png))
        x.load()
        x = x.convert('RGB')
    """,
    "a text that expands in a template": """
        import string
        x = 'lol'
        for _ in range(40):
            x = string.Template('$x$x').substitute(x=x)
    """,
    "a document that expands": """
        from xml.etree import ElementTree
        entities = ''.join(f'<!ENTITY e{n} "{("&e%d;" % (n - 1)) * 10}">' for n in range(1, 12))
        ElementTree.fromstring(f'<!DOCTYPE x [<!ENTITY e0 "lol">{entities}]><x>&e11;</x>')
    """,
}


@each("bomb", COMPRESSED)
async def test_what_is_compressed_expands_within_the_sessions_share(attack: Attack, bomb: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with attack(f"DATA = {ZEROS!r}\n{bomb}", limits=TIGHT) as result:
        assert result.status in ("exception", "memory", "policy", "cpu", "wall_clock", "killed"), result.status
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # nothing of it is expanded outside


CODE = {
    "nesting that no parser holds": "(" * 100_000 + ")" * 100_000,
    "a long line": "x = '" + "x" * 900_000 + "'",
    "many lines": "x = 1\n" * 150_000,
    "many names": "\n".join(f"x{n} = {n}" for n in range(50_000)),
    "a deep expression": "x = " + "-" * 500_000 + "1",
    "a long chain of attributes": "x" + ".x" * 200_000,
    "a number of many digits": "x = " + "9" * 900_000,
    "many decorators": "@x\n" * 100_000 + "def f(): pass",
    "deep blocks": "".join(" " * n + "if 1:\n" for n in range(99)) + " " * 99 + "pass",
    "a comprehension in a comprehension": "x = " + "[" * 200 + "1" + " for x in y]" * 200,
    "names that look alike": "x\u200b = 1",
    "another encoding": "# -*- coding: utf-7 -*-\nx = '+AGEAYg-'",
}


@each("code", CODE)
async def test_code_that_is_hard_to_read_is_the_guests_to_read(attack: Attack, code: str) -> None:
    async with attack(code, limits=SHORT) as result:
        assert result.status in ("ok", "exception", "policy", "memory", "cpu", "wall_clock", "killed"), result.status
        assert len(result.message) < 25_000
