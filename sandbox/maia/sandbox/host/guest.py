"""A session's processes as the host knows them: what it tells their supervisor, and what the supervisor tells it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from maia.sandbox.errors import SandboxError, SessionError
from maia.sandbox.host.channel import Channel
from maia.sandbox.host.tiers.remedies import unavailable
from maia.sandbox.protocol.control import NONCE_BYTES, line, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from maia.execution.v1 import execution_pb2 as pb
    from maia.sandbox.host.tiers.tier import Ends
    from maia.sandbox.limits import Limits

__all__ = ["Exit", "Guest", "InForce"]

_START_S: Final = 20.0
_ANSWER_S: Final = 5.0
"""How long a supervisor may take to answer before it counts as dead; it has little else to do."""

_MAX_LINES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Exit:
    """How a guest's process ended.

    Attributes:
        code: Exit status, or minus the signal that killed it; None where nobody could tell.
        cpu_s: CPU seconds over its life.
        peak_memory_bytes: Largest resident set.
        checkpoint: Whether there is one to go on from.
    """

    code: int | None
    cpu_s: float
    peak_memory_bytes: int
    checkpoint: bool


@dataclass(frozen=True, slots=True)
class InForce:
    """What a guest found when it gave everything up.

    Attributes:
        landlock: Version of the ABI; 0 without.
        seccomp: Whether a filter is in force.
        checkpoints: Whether forks can be allowed one by one.
    """

    landlock: int
    seccomp: bool
    checkpoints: bool


class Guest:
    """One session's supervisor and, through it, its guest."""

    def __init__(self, ends: Ends, channel: Channel, tier: str) -> None:
        """Use `start`."""
        self.channel = channel
        self.output = ends.output
        self.pid: int | None = None
        self.cpu_s = 0.0
        self.peak_memory_bytes = 0
        self.in_force = InForce(landlock=0, seccomp=False, checkpoints=False)
        self._ends = ends
        self._tier = tier
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._answers: dict[str, asyncio.Future[dict[str, object]]] = {}
        self._lines = b""
        self._pidfd = -1
        self._descriptors: list[int] = []
        self._cpu_clock = 0
        self._status = -1
        self._closed = False

    @classmethod
    async def open(cls, ends: Ends, tier: str) -> Guest:
        """Take over a session's ends, closed by `close`.

        Args:
            ends: As a tier gives them.
            tier: For messages.
        """
        try:
            guest = cls(ends, await Channel.open(ends.channel), tier)
        except BaseException:
            ends.control.close()
            ends.channel.close()
            os.close(ends.output)
            ends.destroy()
            raise
        asyncio.get_running_loop().add_reader(ends.control, guest._on_lines)
        return guest

    async def start(self, limits: Limits, first: pb.HostFrame) -> None:
        """Let the supervisor fork the guest.

        Args:
            limits: In force in the guest from its first moment.
            first: The frame that it finds then.

        Raises:
            TierUnavailableError: The kernel refused a step.
            SandboxError: The guest ended before it was confined.
        """
        names = ("memory_mb", "tmp_mb", "threads", "open_files")
        answer = self._expect("start", "started", limits={name: getattr(limits, name) for name in names})
        await self.channel.send(first)
        started = await self._wait(answer, _START_S)
        self._take_guest(started)
        self.in_force = InForce(
            landlock=cast("int", started["landlock"]),
            seccomp=bool(started["seccomp"]),
            checkpoints=bool(started["checkpoints"]),
        )

    # Orders

    def go(self) -> None:
        """Let the guest have CPU."""
        self._order("go", signal.SIGCONT)

    async def halt(self) -> None:
        """Give it no more CPU, and learn what it has used."""
        if self._pidfd < 0:
            await self._ask("halt", "halted", _ANSWER_S)
            return
        self._order("halt", signal.SIGSTOP)
        self._measure()

    async def measure(self) -> None:
        """Learn what it has used so far: `cpu_s` and `peak_memory_bytes`."""
        if self._pidfd < 0:
            await self._ask("usage", "usage", _ANSWER_S)
        else:
            self._measure()

    def interrupt(self) -> None:
        """Ask the running block to stop."""
        self._order("interrupt", signal.SIGINT)

    def kill(self) -> None:
        """End the guest's process; `exit` says when it has ended."""
        self._order("kill", signal.SIGKILL)

    def _order(self, word: str, number: signal.Signals) -> None:
        if self._pidfd < 0:
            self._say(do=word)
            return
        with contextlib.suppress(ProcessLookupError):  # it has ended; the supervisor says how
            signal.pidfd_send_signal(self._pidfd, number)

    def _measure(self) -> None:
        """Ask the kernel. A guest that has ended keeps its last figures until its supervisor reports."""
        with contextlib.suppress(OSError):
            self.cpu_s = time.clock_gettime(self._cpu_clock)
        with contextlib.suppress(OSError, ValueError):
            text = os.pread(self._status, 8192, 0)
            start = text.find(b"VmHWM:")
            if start >= 0:
                peak = int(text[start + 6 : text.find(b"\n", start)].split()[0]) * 1024
                self.peak_memory_bytes = max(peak, self.peak_memory_bytes)

    async def exit(self) -> Exit:
        """Wait until the guest's process has ended."""
        return await asyncio.shield(self._exit)

    async def has_gone_with_all(self) -> bool:
        """Whether what holds all sessions has ended, and this guest with it."""
        return await self._ends.has_gone()

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self._exit.done()

    def allow_checkpoint(self) -> asyncio.Future[dict[str, object]]:
        """Let the guest fork once; the last checkpoint goes. Returns what `checkpointed` waits for."""
        return self._expect("checkpoint", "checkpointed")

    async def checkpointed(self, answer: asyncio.Future[dict[str, object]]) -> bool:
        """Wait for the child to be held. Returns whether there is one."""
        return bool((await self._wait(answer, _ANSWER_S))["made"])

    def forbid_checkpoint(self) -> None:
        """Let the guest fork no more, if it has not."""
        self._say(do="forbid")

    async def restore(self) -> None:
        """Put the checkpoint in the place of the guest that has ended.

        Raises:
            SandboxError: There is none any more.
        """
        nonce = secrets.token_bytes(NONCE_BYTES)
        self._exit = asyncio.get_running_loop().create_future()
        answer = self._expect("restore", "restored", nonce=nonce.hex())
        async with asyncio.timeout(_ANSWER_S):
            await self.channel.begin_after(nonce)
        restored = await self._wait(answer, _ANSWER_S)
        self._take_guest(restored)

    def close(self) -> None:
        """End the session's processes and give back the ends. Closing again does nothing."""
        if self._closed:
            return
        self.unwatch_output()
        self._closed = True
        asyncio.get_running_loop().remove_reader(self._ends.control)
        self._ends.control.close()
        self.channel.close()
        os.close(self.output)
        try:
            self._drop_pidfd()
        finally:
            self._ends.destroy()
            self._gone()

    def watch_output(self, on_readable: Callable[[], None]) -> None:
        """Call back whenever something was printed."""
        asyncio.get_running_loop().add_reader(self.output, on_readable)

    def unwatch_output(self) -> None:
        """No more; after `close` the descriptor's number may be another's."""
        if not self._closed:
            asyncio.get_running_loop().remove_reader(self.output)

    def _take_guest(self, told: dict[str, object]) -> None:
        """A guest is new: its number and, where it came along, its pidfd."""
        came = self._descriptors.pop() if self._descriptors else -1
        self._drop_pidfd()
        self.pid = None
        if came >= 0:  # it is a process of this machine, and its supervisor our own
            self._pidfd = came
            self.pid = cast("int", told["pid"])
            self._cpu_clock = (~self.pid << 3) | 2  # as clock_getcpuclockid(3) makes it; no permission is needed
            with contextlib.suppress(OSError):  # it has ended already, which its supervisor tells next
                self._status = os.open(f"/proc/{self.pid}/status", os.O_RDONLY | os.O_CLOEXEC)

    def _drop_pidfd(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if self._status >= 0:
            os.close(self._status)
            self._status = -1
        while self._descriptors:
            os.close(self._descriptors.pop())

    # The supervisor's lines

    def _say(self, **fields: object) -> None:
        if not self._closed:
            with contextlib.suppress(OSError):  # it has ended: whoever waits for it learns so
                self._ends.control.send(line(**fields))

    def _expect(self, do: str, tell: str, **fields: object) -> asyncio.Future[dict[str, object]]:
        answer: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
        self._answers[tell] = answer
        self._say(do=do, **fields)
        if self._closed:
            answer.set_exception(SessionError("the session is closed"))
        return answer

    async def _ask(self, do: str, tell: str, within_s: float, **fields: object) -> dict[str, object]:
        return await self._wait(self._expect(do, tell, **fields), within_s)

    async def _wait(self, answer: asyncio.Future[dict[str, object]], within_s: float) -> dict[str, object]:
        try:
            async with asyncio.timeout(within_s):
                return await answer
        except TimeoutError:
            raise SandboxError(f"the session's supervisor did not answer within {within_s:g} s") from None

    def _on_lines(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._ends.control, 65536, 1)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self._descriptors += descriptors
        if not data or len(self._lines) > _MAX_LINES:
            asyncio.get_running_loop().remove_reader(self._ends.control)
            self._gone()
            return
        *whole, self._lines = (self._lines + data).split(b"\n")
        try:
            for one in whole:
                self._on_message(parse(one))
        except (
            ValueError,
            KeyError,
            TypeError,
            AssertionError,
            RecursionError,
        ):  # in a container something else may speak for it
            self._ends.destroy()
            self._gone()

    def _on_message(self, message: dict[str, object]) -> None:
        tell = str(message["tell"])
        if "cpu_s" in message:
            self._note_usage(message)
        if tell == "ended":
            code = os.waitstatus_to_exitcode(cast("int", message["status"]))
            self._end(Exit(code, self.cpu_s, self.peak_memory_bytes, bool(message["checkpoint"])))
            return
        if tell == "refused":
            error = unavailable(str(message["step"]), cast("int", message["errno"]), self._tier)
            self._fail(error)
            return
        answer = self._answers.pop(tell, None)
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _note_usage(self, message: dict[str, object]) -> None:
        self.cpu_s = max(float(cast("float", message["cpu_s"])), 0.0)
        self.peak_memory_bytes = max(int(cast("int", message["peak_bytes"])), self.peak_memory_bytes)

    def _end(self, how: Exit) -> None:
        if not self._exit.done():
            self._exit.set_result(how)
        loop = asyncio.get_running_loop()
        # What it wrote before its end is read first: the loop looks for it once more between the two.
        loop.call_soon(loop.call_soon, self.channel.end)
        self._fail(SessionError("the session's process ended"))

    def _gone(self) -> None:
        """The supervisor has ended, and with it everything."""
        self._end(Exit(None, self.cpu_s, self.peak_memory_bytes, checkpoint=False))

    def _fail(self, error: SandboxError) -> None:
        """Whoever waits for an answer gets none; an end comes while a usage figure is under way."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # nobody may be waiting any more
        self._answers.clear()
