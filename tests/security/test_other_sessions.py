"""Attacks of one session on another, and on those that come later."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from tests.security.attack import LIMITS, NATIVE, Tier, each
from tests.security.conftest import Attack

from maia.sandbox import Host, Session, Tool

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_files_modules_and_variables_are_not_shared(host: Host) -> None:
    async with (
        await host.open(policy="off", limits=LIMITS) as one,
        await host.open(policy="off", limits=LIMITS) as other,
    ):
        await one.run("x = 1\nopen('f', 'w').write('1')\nnp.pi = 3\nimport builtins\nbuiltins.len = None\nmath.tau = 0")
        outcome = await other.run(
            "import os\nprint('x' in globals(), 'f' in os.listdir('.'), round(np.pi, 2), math.tau > 6, len('ab'))"
        )
    assert outcome.output == "False False 3.14 True 2\n"


MARKS = {
    "a file": ("open('mark', 'w')", "os.path.exists('mark')"),
    "a file in /dev/shm": ("open('/dev/shm/mark', 'w')", "os.path.exists('/dev/shm/mark')"),
    "an attribute of a module": ("math.mark = 1", "hasattr(math, 'mark')"),
    "a module": ("import sys\nsys.modules['mark'] = math", "'mark' in __import__('sys').modules"),
    "a variable of the environment": ("os.environ['MARK'] = '1'", "'MARK' in os.environ"),
    "the working directory": ("os.mkdir('d')\nos.chdir('d')", "os.getcwd().endswith('/d')"),
    "the mask of new files": ("os.umask(0o123)", "os.umask(0o77) == 0o123"),
    "a handler of signals": (
        "import signal\nsignal.signal(10, signal.SIG_IGN)",
        "__import__('signal').getsignal(10) == __import__('signal').SIG_IGN",
    ),
    "the way NumPy prints": ("np.set_printoptions(precision=1)", "str(np.float64(1) / 3 * np.ones(1)) == '[0.3]'"),
    "the way of decimal numbers": (
        "import decimal\ndecimal.getcontext().prec = 3",
        "__import__('decimal').getcontext().prec == 3",
    ),
    "the limit of recursion": ("import sys\nsys.setrecursionlimit(77)", "__import__('sys').getrecursionlimit() == 77"),
    "a class's attribute": ("Image.Image.mark = 1", "hasattr(Image.Image, 'mark')"),
    "a small integer": (
        "import ctypes\nctypes.c_int.from_address(id(77) + 24).value = 78",
        "77 + 0 != int('77') or str(int('77')) != '77'",
    ),
    "a constant of a shared library": (
        "import ctypes\nctypes.memset(id(np.__doc__) + 48, ord('Z'), 16)",
        "'ZZZZ' in np.__doc__",
    ),
    "the code of a function": (
        "statistics.mean.__code__ = (lambda data: 'mark').__code__",
        "statistics.mean([1]) == 'mark'",
    ),
}


@pytest.mark.parametrize(("make", "seen"), MARKS.values(), ids=MARKS)
async def test_a_mark_that_one_session_makes_is_not_seen_by_another(
    attack: Attack, honest: Session, make: str, seen: str
) -> None:
    async with attack(f"import os\n{make}", fresh=make.startswith(("import ctypes", "np.", "import signal"))):
        assert (await honest.run(f"import os\nprint({seen})")).output == "False\n"


async def test_no_mark_of_any_kind_is_seen_by_a_later_session(host: Host) -> None:
    async with await host.open(policy="off", limits=LIMITS) as marking:
        for make, _ in MARKS.values():
            await marking.run(f"import os\n{make}")
    async with await host.open(policy="off", limits=LIMITS) as after:
        for name, (_, seen) in MARKS.items():
            assert (await after.run(f"import os\nprint({seen})")).output == "False\n", name


OBJECTS = {
    "shared memory of System V": "syscall('shmget', 0x6d616961, 4096, 0o1666)",
    "semaphores of System V": "syscall('semget', 0x6d616961, 1, 0o1666)",
    "messages of System V": "syscall('msgget', 0x6d616961, 0o1666)",
    "a queue of messages": "syscall('mq_open', b'maia', 0o102, 0o666, 0)",
    "memory with a name": "syscall('memfd_create', b'maia', 0)",
    "memory that is secret": "syscall('memfd_secret', 0)",
    "a socket with an abstract name": "syscall('socket', 1, 1, 0)",
    "a watch on files": "syscall('inotify_init1', 0)",
    "a watch on all files": "syscall('fanotify_init', 0, 0)",
    "a timer": "syscall('timer_create', 0, 0, 0)",
    "a descriptor of signals": "syscall('signalfd4', -1, 0, 8, 0)",
    "a context of asynchronous work": "syscall('io_setup', 1, 0)",
    "a protection key": "syscall('pkey_alloc', 0, 0)",
    "a barrier for every processor": "syscall('membarrier', 1, 0, 0)",
}


@each("call", OBJECTS)
async def test_an_object_that_sessions_could_meet_at_cannot_be_made(attack: Attack, call: str) -> None:
    async with attack(f"print({call})", native=True) as result:
        assert result.said("EPERM\n"), result.output


FINDERS = {
    "multiprocessing's shared memory": (
        "from multiprocessing import shared_memory\nshared_memory.SharedMemory('maia', create=True, size=64)"
    ),
    "multiprocessing's lock": "import multiprocessing\nmultiprocessing.Lock()",
    "multiprocessing's manager": "import multiprocessing\nmultiprocessing.Manager()",
    "a database of the C library": "import dbm.dumb\ndbm.dumb.open('/tmp/../dev/shm/maia', 'c')['x'] = 'y'",
}


@each("code", FINDERS)
async def test_a_library_that_shares_between_processes_shares_nothing(attack: Attack, code: str) -> None:
    async with attack(f"{code}\nprint('made')", fresh=True) as result:
        assert "made" not in result.output


async def test_tools_of_one_session_are_not_anothers(host: Host) -> None:
    called: list[str] = []

    def make(owner: str) -> Tool:
        async def act() -> str:
            """Act."""
            called.append(owner)
            return owner

        return Tool.of(act)

    async with (
        await host.open(tools=[make("a")], limits=LIMITS) as a,
        await host.open(tools=[make("b")], limits=LIMITS) as b,
        await host.open(limits=LIMITS) as c,
    ):
        assert (await a.run("print(act())")).output == "a\n"
        assert (await b.run("print(act())")).output == "b\n"
        assert "NameError" in (await c.run("act()")).message
    assert called == ["a", "b"]


async def test_random_numbers_of_two_sessions_differ_by_seed_only(host: Host) -> None:
    draw = "import os\nprint(random.random(), np.random.rand())"
    outputs = []
    for seed in (1, 1, 2):
        async with await host.open(seed=seed, limits=LIMITS, policy="off") as session:
            outputs.append((await session.run(draw)).output)
    assert outputs[0] == outputs[1] != outputs[2]


async def test_secret_random_numbers_of_two_sessions_differ(host: Host) -> None:
    draw = """
import os, secrets, uuid
print(os.urandom(8).hex(), secrets.token_hex(8), uuid.uuid4(), np.random.default_rng().random())
"""
    seen: set[str] = set()
    for _ in range(2):
        async with await host.open(seed=1, limits=LIMITS, policy="off") as session:
            words = (await session.run(draw)).output.split()
            assert not seen & set(words)
            seen |= set(words)


NOISE = {
    "a loop": "while True:\n    pass",
    "threads": """
        import threading
        for _ in range(5):
            threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()
    """,
    "output": "while True:\n    print('x' * 1000)",
    "system calls": "import os\nwhile True:\n    os.getppid()",
    "refused forks": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "tool calls": "while True:\n    try:\n        act()\n    except ToolError:\n        pass",
    "memory": "while True:\n    x = np.ones(1 << 23)",
}


@each("code", NOISE)
async def test_a_noisy_neighbour_is_heard_but_holds_nobody_up(
    host: Host, honest: Session, tier: Tier, code: str
) -> None:
    async def act() -> None:
        """Act."""

    limits = replace(LIMITS, wall_s=1, cpu_s=1)
    async with await host.open(policy="off", limits=limits, tools=[Tool.of(act)]) as noisy:
        attack = asyncio.ensure_future(noisy.run(code))
        waits = []
        while not attack.done():
            before = time.monotonic()
            assert (await honest.run("print(1)")).output == "1\n"
            waits.append(time.monotonic() - before)
        await attack
    assert waits
    assert sorted(waits)[len(waits) // 2] < (2.0 if tier.own_kernel else 0.5)


async def test_the_native_layer_of_one_session_does_not_reach_anothers_memory(host: Host, secret: str) -> None:
    async with (
        await host.open(policy="off", limits=LIMITS, constants={"word": secret}) as owner,
        await host.open(policy="off", limits=LIMITS) as thief,
    ):
        place = (await owner.run("print(id(word))")).output.strip()
        code = f"reading, writing = os.pipe()\nprint(libc.write(writing, ctypes.c_void_p({place}), 64))\n"
        outcome = await thief.run(NATIVE + code + "os.set_blocking(reading, False)\nprint(os.read(reading, 64))")
        assert secret not in outcome.output
        assert (await owner.run("print(len(word))")).output == f"{len(secret)}\n"
