"""What people run an agent's code with instead, used as their manuals say."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import uuid
from types import TracebackType
from typing import Any, Self

from tests.bench.runtimes import RUNAWAY, Opened, UnavailableError

from maia.sandbox import SandboxError, user_cache_dir
from maia.sandbox.host.tiers.docker.engine import Engine, Image

__all__ = ["DockerRun", "Jupyter", "Smolagents"]

NEVER_S = 5.0
"""A block that goes on for so long after its limit is not stopped at all."""


class _Other:
    """What needs a package, and nothing to be started or ended."""

    package = ""

    async def __aenter__(self) -> Self:
        if importlib.util.find_spec(self.package) is None:
            raise UnavailableError("not installed: make bench does it")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class Jupyter(_Other):
    """A kernel for each session, spoken to by jupyter_client."""

    name = "Jupyter kernel"
    isolates = "nothing: a process of the same user, with its files, network and environment"
    package = "ipykernel"

    async def open(self, limit_s: float = 60) -> Opened:
        from jupyter_client.manager import start_new_async_kernel

        manager, client = await start_new_async_kernel(stderr=subprocess.DEVNULL)  # it warns that it is not encrypted
        return _Kernel(manager, client)


class _Kernel:
    def __init__(self, manager: Any, client: Any) -> None:
        self._manager = manager
        self._client = client

    async def run(self, code: str, timeout_s: float = 60) -> str:
        printed: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        reply = await self._client.execute_interactive(
            code, output_hook=hear, timeout=timeout_s, allow_stdin=False, store_history=False
        )
        if reply["content"]["status"] != "ok":
            raise RuntimeError(reply["content"]["evalue"])
        return "".join(printed)

    async def overrun(self, limit_s: float) -> None:
        """An interrupt does not reach code in C: the kernel is killed and started anew."""
        with contextlib.suppress(TimeoutError):
            await self.run(RUNAWAY, limit_s)
        await self._manager.restart_kernel(now=True)
        await self._client.wait_for_ready(timeout=60)

    async def close(self) -> None:
        self._client.stop_channels()
        await self._manager.shutdown_kernel(now=True)


class DockerRun:
    """A hardened container for each block; nothing is left of one block in the next."""

    name = "docker run per block"
    isolates = "a container: no network, read-only, no capabilities, nobody; Docker's seccomp profile, one kernel"

    def __init__(self) -> None:
        self._start: list[str] = []

    async def __aenter__(self) -> Self:
        try:
            image = await asyncio.to_thread(_image)
        except SandboxError as error:
            raise UnavailableError(str(error)) from error
        environment = {**image.environment, "OPENBLAS_NUM_THREADS": "1"}
        self._start = [f"--env={name}={value}" for name, value in environment.items()]
        self._start += [f"--entrypoint={image.command[0]}", image.name, "-s", "-P", "-B", "-c"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def open(self, limit_s: float = 60) -> Opened:
        return _Containers(self._start)


def _image() -> Image:
    """The image of the docker tier: this project's packages and no others."""
    engine = Engine("docker", None)
    try:
        return engine.own_image(user_cache_dir(os.environ))
    finally:
        engine.close()


class _Containers:
    def __init__(self, start: list[str]) -> None:
        self._options = ["--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        self._options += ["--user=65534:65534", "--pids-limit=64", "--memory=1g", "--cpus=1", "--tmpfs=/tmp:size=64m"]
        self._options += start

    async def run(self, code: str) -> str:
        return await _docker("run", *self._options, code)

    async def overrun(self, limit_s: float) -> None:
        name = f"bench-{uuid.uuid4().hex}"
        running = asyncio.create_task(_docker("run", f"--name={name}", *self._options, RUNAWAY))
        await asyncio.wait([running], timeout=limit_s)
        while not running.done():  # a container that is still being made cannot be killed yet
            with contextlib.suppress(RuntimeError):
                await _docker("kill", name)
            await asyncio.wait([running], timeout=0.02)
        assert running.exception() is not None

    async def close(self) -> None:
        return


async def _docker(*arguments: str) -> str:
    """Run the command line; returns what it printed.

    Raises:
        RuntimeError: It failed; the message is what it said.
    """
    process = await asyncio.create_subprocess_exec("docker", *arguments, stdout=-1, stderr=-1)
    printed, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(said.decode() or f"docker {arguments[0]} ended with {process.returncode}")
    return printed.decode()


_STUCK = f"""
from smolagents.local_python_executor import LocalPythonExecutor
import sys
executor = LocalPythonExecutor([], timeout_seconds=float(sys.argv[1]))
executor.send_tools({{}})
print(flush=True)
executor({json.dumps(RUNAWAY)})
"""


class Smolagents(_Other):
    """LocalPythonExecutor: walks the block's syntax tree in the agent's own process."""

    name = "smolagents local"
    isolates = "nothing by the kernel: an interpreter of Python in Python, in the process that holds the keys"
    package = "smolagents"

    async def open(self, limit_s: float = 60) -> Opened:
        from smolagents.local_python_executor import LocalPythonExecutor

        executor = LocalPythonExecutor(["numpy", "PIL"], timeout_seconds=60)
        executor.send_tools({})
        return _Walker(executor)


class _Walker:
    def __init__(self, executor: Any) -> None:
        self._executor = executor

    async def run(self, code: str) -> str:
        return str(self._executor(code).logs)

    async def overrun(self, limit_s: float) -> None:
        """In a process of its own: its time limit is a thread's, and the block never lets another thread run."""
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", _STUCK, str(limit_s), stdout=-1, stderr=-1)
        assert child.stdout is not None
        await child.stdout.readline()
        try:
            await asyncio.wait_for(child.wait(), limit_s + NEVER_S)
        except TimeoutError:
            child.kill()
            await child.wait()
            raise UnavailableError(f"not within {NEVER_S:.0f} s: the agent's whole process stands still") from None

    async def close(self) -> None:
        return
