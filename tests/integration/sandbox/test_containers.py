"""Sessions in real containers, where a Docker engine answers: runc, and gVisor where the engine knows it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from maia.sandbox import Host, HostGoneError, Limits, State, Status, TierUnavailableError, Tool
from maia.sandbox.host.tiers.docker import owners
from maia.sandbox.host.tiers.docker.engine import Engine, Image
from maia.sandbox.host.tiers.docker.options import Size
from maia.sandbox.host.tiers.docker.tier import DockerTier
from maia.sandbox.host.tiers.jail.plan import make_plan

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = Limits(wall_s=5, cpu_s=5, memory_mb=256, tmp_mb=16, threads=8, output_bytes=100_000)
GONE_S = 15.0


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=["docker", "gvisor"])
def tier(request: pytest.FixtureRequest, cache_dir: Path) -> str:
    name = str(request.param)
    if any(path.startswith("/tmp/") for path in make_plan(cache_dir).binds):
        pytest.skip("this installation lies below /tmp, where every container has a folder of its own")
    try:
        Engine(name, "runsc" if name == "gvisor" else None).close()
    except TierUnavailableError as error:
        pytest.skip(" ".join(str(error).split()))
    return name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(tier: str, cache_dir: Path) -> AsyncIterator[Host]:
    async with Host(tier=tier, cache_dir=cache_dir) as running:  # type: ignore[arg-type]  # a parameter's value
        yield running


class Ours:
    """What the engine has of this process, or of another."""

    def __init__(self, owner: str) -> None:
        import docker
        from docker.errors import NotFound

        self.api: Any = docker.from_env().api
        self.missing = NotFound
        self.owner = owner

    def ids(self) -> set[str]:
        wanted = {"label": f"{owners.LABEL}={self.owner}"}
        return {found["Id"] for found in self.api.containers(all=True, filters=wanted)}

    def options(self) -> dict[str, Any]:
        """Of any that is running."""
        for found in self.ids():
            with contextlib.suppress(self.missing):  # it was removed meanwhile
                options: dict[str, Any] = self.api.inspect_container(found)["HostConfig"]
                return options
        raise AssertionError("there is none")

    def gone(self, among: set[str], how_many: int | None = None) -> bool:
        """Wait until so many of them are gone; all, if not said."""
        enough = len(among) if how_many is None else how_many
        deadline = time.monotonic() + GONE_S
        while len(among - self.ids()) < enough and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(among - self.ids()) >= enough


@pytest.fixture
def ours(tier: str) -> Iterator[Ours]:
    asking = Ours(owners.this_process())
    yield asking
    asking.api.close()


async def test_variables_and_files_last_from_block_to_block(host: Host) -> None:
    async with await host.open(limits=LIMITS, policy="off") as session:
        assert (await session.run("x = [1, 2]\nopen('/tmp/kept', 'w').write('there')")).ok
        assert (await session.run("x.append(3)\nprint(x, open('/tmp/kept').read())")).output == "[1, 2, 3] there\n"


async def test_what_a_block_prints_is_there_when_it_ends(host: Host) -> None:
    async with await host.open(limits=LIMITS) as session:
        for number in range(30):
            printed = f"{number}\n" * (number * 40)
            assert (await session.run(f"print('{number}\\n' * {number * 40}, end='')")).output == printed


async def test_tools_are_called_with_little_and_with_much(host: Host) -> None:
    def double(values: list[int]) -> list[int]:
        return [2 * value for value in values]

    def repeat(text: str, times: int) -> str:
        return text * times

    async with await host.open(limits=LIMITS, tools=[Tool.of(double), Tool.of(repeat)]) as session:
        outcome = await session.run(
            "print(double([1, 2, 3]))\nprint(len(repeat('x' * 1000, 5000)), len(repeat('é' * 10**6, 2)))"
        )
        assert outcome.output == "[2, 4, 6]\n5000000 2000000\n", outcome.message


async def test_a_flood_of_output_ends_its_block_and_nothing_else(host: Host) -> None:
    async with await host.open(limits=LIMITS) as session, await host.open(limits=LIMITS) as other:
        flood = asyncio.create_task(session.run("while True: print('x' * 10_000)"))
        assert (await other.run("print('unharmed')")).output == "unharmed\n"
        assert (await flood).status is Status.OUTPUT


async def test_a_block_that_never_ends_is_stopped(host: Host) -> None:
    async with await host.open(limits=Limits(wall_s=1, memory_mb=256)) as session:
        assert (await session.run("x = 1")).ok
        outcome = await session.run("while True: pass")
        assert outcome.status in (Status.WALL_CLOCK, Status.CPU)
        assert outcome.state is State.KEPT


async def test_a_killed_guest_leaves_its_checkpoint_or_says_that_all_is_lost(host: Host) -> None:
    checkpoints = next(feature for feature in host.features if feature.name == "checkpoints").enforced
    async with await host.open(limits=LIMITS, policy="off") as session:
        assert (await session.run("x = 'before'")).ok
        outcome = await session.run("import os; os._exit(7)")
        assert outcome.status is Status.KILLED
        assert outcome.state is (State.RESTORED if checkpoints else State.LOST)
        if checkpoints:
            assert (await session.run("print(x)")).output == "before\n"


async def test_memory_threads_and_tmp_are_bounded(host: Host) -> None:
    async with await host.open(limits=LIMITS, policy="off") as session:
        assert (await session.run("x = bytearray(600 << 20)")).status is Status.MEMORY
        threads = (
            "import threading, time\nfor number in range(200): threading.Thread(target=time.sleep, args=(1,)).start()"
        )
        outcome = await session.run(threads)
        assert "can't start new thread" in outcome.message or outcome.status is Status.MEMORY
        fill = "for number in range(40): open(f'/tmp/{number}', 'wb').write(bytes(1 << 20))"
        outcome = await session.run(fill)
        assert "No space left" in outcome.message, outcome


async def test_nothing_of_the_host_is_inside(host: Host) -> None:
    code = """
import os, socket
print(os.getuid(), os.getgid(), sorted(os.environ))
for path in ("/etc/shadow", "/root/.bashrc", "/home", "/usr/bin", "/bin/sh", "/var/run/docker.sock"):
    print(path, os.path.exists(path))
try:
    socket.socket()
except OSError as error:
    print(error.errno)
try:
    open("/etc/passwd", "a")
except OSError as error:
    print("read-only")
print(open("/etc/resolv.conf").read().split())
"""
    async with await host.open(limits=LIMITS, policy="off") as session:
        lines = (await session.run(code)).output.splitlines()
    assert lines[0].startswith("65534 65534 ['HOME', 'LANG', 'MPLBACKEND'")
    assert lines[1:7] == [f"{line.split()[0]} False" for line in lines[1:7]]
    assert lines[7:] == ["1", "read-only", "['nameserver', '127.0.0.1']"]


async def test_containers_are_confined_as_asked(host: Host, ours: Ours) -> None:
    async with await host.open(limits=LIMITS):
        asked = ours.options()
    assert asked["NetworkMode"] == "none"
    assert asked["ReadonlyRootfs"] is True
    assert asked["CapDrop"] == ["ALL"]
    assert asked["Memory"] == asked["MemorySwap"] > 0
    assert asked["PidsLimit"] > 0
    assert asked["LogConfig"]["Type"] == "none"
    assert not asked["Binds"]
    assert not asked["Privileged"]
    assert any(option.startswith("seccomp={") for option in asked["SecurityOpt"])


async def test_closing_a_session_removes_its_container(host: Host, ours: Ours) -> None:
    session = await host.open(limits=LIMITS)
    await session.run("pass")
    opened = ours.ids()
    await session.close()
    assert await asyncio.to_thread(ours.gone, opened, how_many=1)


async def test_sessions_come_from_the_pool(host: Host, ours: Ours) -> None:
    await (await host.open(limits=LIMITS)).close()
    async with asyncio.timeout(GONE_S):
        while len(waiting := ours.ids()) < 2:  # noqa: ASYNC110  the engine tells nobody
            await asyncio.sleep(0.1)
    await asyncio.sleep(3)  # the last of them says that it is ready
    await (await host.open(limits=LIMITS)).close()
    assert await asyncio.to_thread(ours.gone, waiting, how_many=1)


async def test_a_container_that_dies_ends_its_session_and_no_other(host: Host, ours: Ours) -> None:
    async with await host.open(limits=LIMITS) as other:
        waiting = ours.ids()
        limits = Limits(memory_mb=100, tmp_mb=2)
        session = await host.open(limits=limits)
        assert (await session.run("x = 1")).ok
        block = asyncio.create_task(session.run("import time; time.sleep(20)"))
        await asyncio.sleep(0.2)
        for found in ours.ids() - waiting:  # the session's, and those that wait beside it
            await asyncio.to_thread(ours.api.remove_container, found, force=True)
        assert (await block).state is State.LOST
        assert not session.alive
        await session.close()
        assert (await other.run("print('unharmed')")).output == "unharmed\n"


async def test_twenty_sessions_at_a_time(host: Host) -> None:
    async def one(number: int) -> str:
        async with await host.open(limits=LIMITS) as session:
            return (await session.run(f"print({number})")).output

    numbers = range(8 if host.tier == "gvisor" else 20)
    assert await asyncio.gather(*map(one, numbers)) == [f"{number}\n" for number in numbers]


async def test_when_the_host_is_killed_its_containers_go(tier: str, cache_dir: Path) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from maia.sandbox import Host
from maia.sandbox.host.tiers.docker import owners
async def main():
    async with Host(tier={tier!r}, cache_dir=Path({str(cache_dir)!r})) as host:
        session = await host.open(policy="off")
        block = asyncio.create_task(session.run("while True: pass"))
        await asyncio.sleep(0.5)
        print(owners.this_process(), flush=True)
        await block
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert process.stdout is not None
    left = Ours((await process.stdout.readline()).decode().strip())
    try:
        theirs = left.ids()
        assert theirs
        process.kill()
        await process.wait()
        assert await asyncio.to_thread(left.gone, theirs)
    finally:
        left.api.close()


@pytest.fixture
def dead() -> str:
    """An owner that has ended."""
    code = "from maia.sandbox.host.tiers.docker import owners; print(owners.this_process())"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


async def test_orphans_that_cannot_end_by_themselves_are_removed_at_the_next_start(
    tier: str, cache_dir: Path, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tier, "runsc" if tier == "gvisor" else None)
    image = engine.own_image(cache_dir)
    sleeping = Image(image.name, (*image.command[:-2], "-c", "import time; time.sleep(600)"), image.environment)
    with monkeypatch.context() as patched:
        patched.setattr(owners, "this_process", lambda: dead)
        _, line = engine.run(sleeping, Size.of(LIMITS))
    left = Ours(dead)
    try:
        orphans = left.ids()
        assert orphans
        engine.remove_orphans()
        assert left.gone(orphans)
    finally:
        line.close()
        left.api.close()
        engine.close()


HOSTILE = {
    "garbage": "import os\nwhile True: os.write(1, os.urandom(5000))",
    "a flood of what is not allowed": "import os\nwhile True: os.write(1, bytes([0, 0, 0, 1, 2]) + bytes(65536))",
    "more than its window": (
        "import os\nos.write(1, bytes([0, 0, 0, 1]))\nwhile True: os.write(1, bytes([2, 1, 0, 0]) + bytes(65536))"
    ),
    "a flood of errors": "import os\nwhile True: os.write(2, bytes(65536))",
    "an end at once": "raise SystemExit('no reason')",
}


@pytest.mark.parametrize("code", HOSTILE.values(), ids=HOSTILE)
async def test_a_container_with_another_program_is_found_out(
    tier: str, cache_dir: Path, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = "runsc" if tier == "gvisor" else None
    tier_ = DockerTier(runtime, pool_size=0)
    own_image = Engine.own_image

    def hostile(engine: Engine, cache_dir: Path | None) -> Image:
        image = own_image(engine, cache_dir)
        return Image(image.name, (*image.command[:-2], "-c", code), image.environment)

    monkeypatch.setattr(Engine, "own_image", hostile)
    monkeypatch.setattr(owners, "this_process", lambda: "of this test")
    theirs = Ours("of this test")
    if "[0, 0, 0, 1" in code:  # it says that it is ready, so a session begins
        await tier_.start(cache_dir)
        ends = await tier_.open(LIMITS)
        async with asyncio.timeout(GONE_S):
            assert not await asyncio.get_running_loop().sock_recv(ends.control, 1)
        for end in (ends.control, ends.channel):
            end.close()
        os.close(ends.output)
        ends.destroy()
        ends.destroy()
    else:
        with pytest.raises(TierUnavailableError, match=r"broke the rules|no reason"):
            await tier_.start(cache_dir)
    await tier_.close()
    assert await asyncio.to_thread(theirs.gone, theirs.ids())
    theirs.api.close()


async def test_a_runtime_that_the_engine_does_not_know(tier: str, cache_dir: Path) -> None:
    with pytest.raises(TierUnavailableError, match=r"finding the runtime runsc-of-tomorrow .*the engine knows .*runc"):
        await DockerTier("runsc-of-tomorrow").start(cache_dir)


async def test_an_image_that_the_engine_does_not_have(tier: str) -> None:
    with pytest.raises(TierUnavailableError, match=r"finding the image nobody/nothing:1"):
        await DockerTier(image="nobody/nothing:1").start(None)


@pytest.fixture
def chosen(tier: str, cache_dir: Path) -> Iterator[Callable[..., str]]:
    """Makes an image as an operator would: its own python3, its own environment, and whatever else is declared."""
    engine = Engine(tier, None)
    own = engine.own_image(cache_dir)
    engine.close()
    ours = Ours("")
    made: list[str] = []

    def make(*declared: str) -> str:
        link = tarfile.TarInfo("python3")
        link.type, link.linkname = tarfile.SYMTYPE, own.command[0]
        with io.BytesIO() as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                tar.addfile(link)
            builder = ours.api.create_container(own.name, ["none"])["Id"]
            try:
                ours.api.put_archive(builder, "/etc", packed.getvalue())
                told = [f"ENV {name}={value}" for name, value in own.environment.items()]
                changes = [*told, "ENV PATH=/etc", *declared]
                ours.api.commit(builder, repository="maia-sandbox-test", tag=str(len(made)), changes=changes)
                made.append(f"maia-sandbox-test:{len(made)}")
            finally:
                ours.api.remove_container(builder, force=True)
        return made[-1]

    yield make
    for name in made:
        ours.api.remove_image(name, force=True)
    ours.api.close()


async def test_an_operators_image_is_used_whatever_it_would_start_by_itself(
    tier: str, chosen: Callable[..., str]
) -> None:
    runtime = "runsc" if tier == "gvisor" else None
    tier_ = DockerTier(runtime, image=chosen('ENTRYPOINT ["/nothing"]', 'CMD ["/nothing"]'), pool_size=0)
    await tier_.start(None)
    await tier_.close()


async def test_an_image_with_a_volume_is_refused(tier: str, chosen: Callable[..., str]) -> None:
    with pytest.raises(TierUnavailableError, match="it declares volumes"):
        await DockerTier(image=chosen("VOLUME /data")).start(None)


async def test_a_host_leaves_no_descriptor_and_no_container_behind(
    tier: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "this_process", lambda: "of this test")
    theirs = Ours("of this test")
    assert theirs.ids() == set()
    before = _open_files()
    async with Host(tier=tier, cache_dir=cache_dir) as host:  # type: ignore[arg-type]  # a parameter's value
        for _ in range(3):
            async with await host.open(limits=LIMITS) as session:
                await session.run("pass")
    assert await asyncio.to_thread(theirs.gone, theirs.ids())
    assert _open_files() == before
    theirs.api.close()


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_an_image_without_maia_says_what_it_lacks(tier: str, cache_dir: Path) -> None:
    engine = Engine(tier, None)
    base = engine.own_image(cache_dir).name
    engine.close()
    with pytest.raises(TierUnavailableError, match="starting a container"):
        await DockerTier(image=base).start(None)  # it has no python3 of that name


async def test_the_features_tell_what_holds(host: Host) -> None:
    told = {feature.name: feature.enforced for feature in host.features}
    assert told["network"]
    assert told["memory"]
    assert told["kernel"] is (host.tier == "gvisor")
    assert told["landlock"] is (host.tier == "docker" and "landlock" in _kernel_modules())
    assert json.dumps([feature.detail for feature in host.features])


def _kernel_modules() -> str:
    from maia.sandbox.confinement.landlock import supported_abi

    return "landlock" if supported_abi() else ""


async def test_when_the_engine_stops_no_block_is_blamed(
    tier: str, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real engine goes on, but behind a socket that goes away with all its connections."""
    import docker.utils

    path = str(docker.utils.parse_host(os.environ.get("DOCKER_HOST"))).partition("://")[2]
    writers: list[asyncio.StreamWriter] = []

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.write_eof()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(f"/{path.lstrip('/')}")
        writers.extend((writer, back))
        await asyncio.gather(pump(reader, back), pump(there, writer))
        for one in (writer, back):
            one.close()

    before = await asyncio.start_unix_server(forward, tmp_path / "engine.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    async with Host(tier=tier, cache_dir=cache_dir, pool_size=0) as host:  # type: ignore[arg-type]  # as above
        session = await host.open(limits=LIMITS)
        assert (await session.run("x = 1")).status is Status.OK
        block = asyncio.create_task(session.run("while True: pass"))
        await asyncio.sleep(0.3)
        before.close()
        (tmp_path / "engine.sock").unlink(missing_ok=True)
        for writer in writers:
            writer.transport.abort()
        with pytest.raises(HostGoneError):
            await block
        with pytest.raises(HostGoneError, match="answers no more"):
            await host.open(limits=LIMITS)
    gc.collect()  # a socket that was left open is a warning of this test, and no later one's
