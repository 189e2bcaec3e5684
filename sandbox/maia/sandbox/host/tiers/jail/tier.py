"""The host's end of the jail: launches it, asks it for sessions, hears how they ended."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from maia.sandbox.errors import SandboxError, TierUnavailableError
from maia.sandbox.host.guest_process import Exit, GuestProcess
from maia.sandbox.host.tiers.jail.plan import make_plan
from maia.sandbox.host.tiers.jail.remedies import unavailable
from maia.sandbox.protocol.control import MAX_DATAGRAM, parse

if TYPE_CHECKING:
    from maia.sandbox.limits import Limits

__all__ = ["JailTier"]

_START_S: Final = 60.0
_OPEN_S: Final = 20.0
_CLOSE_S: Final = 5.0
_AT_ONCE: Final = 4
"""Requests on the way: the zygote takes one at a time, and the kernel bounds descriptors in flight."""

_KEPT_ERRORS: Final = 4000
_NO_ROOM: Final = "no room for another session: too many open files; `ulimit -n` raises the limit"


class ZygoteDiedError(SandboxError):
    """The zygote died before it answered; its keeper starts another."""


class JailTier:
    """One launched jail: a keeper, a zygote, and the guests that it forks."""

    name = "jail"

    def __init__(self) -> None:
        """Nothing runs before `start`."""
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._errors = ""
        self._error_reader: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._opening: dict[int, asyncio.Future[GuestProcess]] = {}
        self._guests: dict[int, GuestProcess] = {}
        self._requests = 0
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def start(self, cache_dir: Path | None) -> None:
        """Launch and wait until the zygote is warm.

        Args:
            cache_dir: Where to remember which libraries a root needs.

        Raises:
            TierUnavailableError: The kernel, or what is installed, does not allow it.
        """
        if sys.platform != "linux":
            raise TierUnavailableError("a Linux kernel", 0, f"this is {sys.platform}", "Use Linux, or a Linux VM.")
        try:
            plan = await asyncio.to_thread(make_plan, cache_dir)
        except FileNotFoundError as error:
            raise TierUnavailableError("planning the root", 0, str(error), "Install it and try again.") from error
        loop = asyncio.get_running_loop()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)  # noqa: FBT003  the socket's own signature
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-s", "-S", "-P", "-B", str(Path(__file__).with_name("launch.py"))),
                str(theirs.fileno()),
                env={"PYTHONHASHSEED": "0"},
                cwd="/",
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C at a terminal is for the host, which ends blocks its own way
            )
        self._error_reader = asyncio.create_task(self._read_errors())
        self._ready = loop.create_future()
        loop.add_reader(self._control, self._on_datagram)
        assert self._process.stdin is not None
        self._process.stdin.write(plan.to_json().encode())
        self._process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), _START_S)
        except TierUnavailableError:
            await self.close()
            raise
        except (TimeoutError, SandboxError) as error:
            await self.close()  # after which all its last words have been read
            reason = str(error) or f"the zygote was not ready after {_START_S:.0f} s"
            raise SandboxError(f"{reason}: {self._errors.strip() or 'without a word'}") from None
        except BaseException:
            await self.close()
            raise

    async def open(self, channel: socket.socket, output: int, limits: Limits) -> GuestProcess:
        """Fork a guest.

        Args:
            channel: The guest's end of the frames; the caller closes its copy.
            output: The writing end of the guest's output; the same.
            limits: memory_mb, tmp_mb, threads and open_files are set in the guest.

        Raises:
            SandboxError: The zygote is gone.
        """
        async with self._turn:
            return await self._request(channel, output, limits)

    async def _request(self, channel: socket.socket, output: int, limits: Limits) -> GuestProcess:
        self._requests += 1
        number = self._requests
        values = {name: getattr(limits, name) for name in ("memory_mb", "tmp_mb", "threads", "open_files")}
        future: asyncio.Future[GuestProcess] = asyncio.get_running_loop().create_future()
        self._opening[number] = future
        try:
            if self._control is None:
                raise SandboxError("the sandbox host is closed")
            request = json.dumps({"open": number, "limits": values}).encode()
            socket.send_fds(self._control, [request], [channel.fileno(), output])
            return await asyncio.wait_for(future, _OPEN_S)
        except TimeoutError:
            raise SandboxError(f"the zygote did not open a session within {_OPEN_S:.0f} s") from None
        except OSError as error:
            raise SandboxError(f"the zygote is gone ({error}): {self._errors.strip()}") from error
        finally:
            self._opening.pop(number, None)

    async def close(self) -> None:
        """End the jail and every guest in it."""
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), _CLOSE_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._error_reader is not None:
            await self._error_reader
        for guest in self._guests.values():
            guest.close()
        self._guests.clear()

    def forget(self, guest: GuestProcess) -> None:
        """The session is closed; how its guest ends interests nobody."""
        guest.close()
        self._guests.pop(guest.guest_pid, None)

    async def _read_errors(self) -> None:
        """Keep the last words of the launched processes, for messages."""
        assert self._process is not None
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(4096):
            self._errors = (self._errors + data.decode(errors="replace"))[-_KEPT_ERRORS:]

    def _on_datagram(self) -> None:
        assert self._control is not None
        try:
            datagram, descriptors, _, _ = socket.recv_fds(self._control, MAX_DATAGRAM, 1)
        except BlockingIOError:
            return
        except OSError:
            datagram, descriptors = b"", []
        if not datagram:
            self._on_gone()
            return
        message = parse(datagram)
        if "opened" in message:
            self._on_opened(cast("int", message["opened"]), cast("int", message["pid"]), descriptors)
        elif "exit" in message:
            self._on_exit(message)
        elif "zygote_died" in message:
            self._fail_opening(ZygoteDiedError("the zygote died while it opened a session"))
        elif self._ready is not None and not self._ready.done():
            if "refused" in message:
                self._ready.set_exception(unavailable(str(message["refused"]), cast("int", message["errno"])))
            else:
                self._ready.set_result(None)

    def _on_opened(self, number: int, pid: int, descriptors: list[int]) -> None:
        future = self._opening.pop(number, None)
        if not descriptors:  # the kernel drops what there is no room for
            if future is not None and not future.done():
                future.set_exception(SandboxError(_NO_ROOM))
            return
        (pidfd,) = descriptors
        if future is None or future.done():
            os.close(pidfd)  # nobody waits any more; the closed channel ends the guest
            return
        try:
            guest = GuestProcess(pidfd, pid)
        except OSError as error:
            os.close(pidfd)
            crowded = error.errno in (errno.EMFILE, errno.ENFILE)
            future.set_exception(SandboxError(_NO_ROOM if crowded else f"the guest ended at once: {error}"))
            return
        self._guests[pid] = guest
        future.set_result(guest)

    def _on_exit(self, message: dict[str, object]) -> None:
        guest = self._guests.pop(cast("int", message["exit"]), None)
        if guest is not None:
            code = os.waitstatus_to_exitcode(cast("int", message["status"]))
            guest.report(Exit(code, cast("float", message["cpu_s"]), cast("int", message["peak_bytes"])))

    def _on_gone(self) -> None:
        """The keeper has ended, and with it everything."""
        assert self._control is not None
        asyncio.get_running_loop().remove_reader(self._control)
        error = SandboxError("the jail ended unexpectedly")
        self._fail_opening(error)
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)

    def _fail_opening(self, error: SandboxError) -> None:
        for future in self._opening.values():
            if not future.done():
                future.set_exception(error)
