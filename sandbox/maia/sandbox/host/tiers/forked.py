"""The host's end of tiers whose sessions are forks of a warm process: launches it and asks it for sessions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from maia.sandbox.errors import HostGoneError, SandboxError, TierUnavailableError
from maia.sandbox.host.cgroups import find_cgroups
from maia.sandbox.host.tiers.jail.plan import make_plan
from maia.sandbox.host.tiers.remedies import unavailable
from maia.sandbox.host.tiers.tier import Ends, Feature
from maia.sandbox.protocol.control import MAX_DATAGRAM, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from maia.sandbox.host.cgroups import Cgroup, Cgroups
    from maia.sandbox.host.tiers.jail.plan import Plan
    from maia.sandbox.limits import Limits

    _Spare = tuple[Ends, Cgroup | None]

__all__ = ["ForkedTier"]

_START_S: Final = 60.0
_OPEN_S: Final = 20.0
_CLOSE_S: Final = 5.0
_AT_ONCE: Final = 4
"""Requests on the way: the zygote takes one at a time, and the kernel bounds descriptors in flight."""

_AHEAD_S: Final = 0.02
"""How long after a session was asked for the next one is prepared."""

_ATTEMPTS: Final = 3
"""How often a session is asked for when the zygote dies meanwhile."""

_KEPT_ERRORS: Final = 4000
_GONE: Final = "the sandbox's processes were ended from outside, as the kernel does when the machine's memory runs out"
_ADVICE: Final = "`dmesg` tells whether it did; if so, give the machine more memory or run less at once"
_NO_ROOM: Final = "no room for another session: too many open files; `ulimit -n` raises the limit"


class ZygoteDiedError(SandboxError):
    """The zygote died before it answered; its keeper starts another."""


class ForkedTier:
    """One launched tree of processes: a keeper, a zygote, and the supervisors that it forks, each with its guest.

    A tree that has ended is launched again when the next session is asked for.
    """

    def __init__(self, name: str, features: tuple[Feature, ...]) -> None:
        """Nothing runs before `start`.

        Args:
            name: "jail" or "landlock"; the launched program knows what each means.
            features: What that enforces wherever it starts.
        """
        self.name = name
        self._features = features
        self._plan: Plan | None = None
        self._launching = asyncio.Lock()
        self._gone = asyncio.Event()
        self._cgroups: Cgroups | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._errors = ""
        self._error_reader: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._asked: dict[int, asyncio.Future[int]] = {}
        self._requests = 0
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._ahead: asyncio.Task[_Spare] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def features(self) -> tuple[Feature, ...]:
        """What holds on this machine."""
        assert self._cgroups is not None
        return (*self._features, self._cgroups.feature)

    async def start(self, cache_dir: Path | None) -> None:
        """Launch and wait until the zygote is warm.

        Args:
            cache_dir: Where to remember which libraries a root needs.

        Raises:
            TierUnavailableError: The kernel, or what is installed, does not allow it.
        """
        if sys.platform != "linux":
            raise TierUnavailableError(
                "a Linux kernel", 0, f"this is {sys.platform}", "Use Linux, or a Linux VM.", self.name
            )
        self._cgroups = await asyncio.to_thread(find_cgroups)
        try:
            self._plan = plan = await asyncio.to_thread(make_plan, cache_dir)
        except FileNotFoundError as error:
            raise TierUnavailableError(
                "planning the root", 0, str(error), "Install it and try again.", self.name
            ) from error
        try:
            await self._launch(plan)
        except BaseException:
            await self.close()
            raise

    async def _launch(self, plan: Plan) -> None:
        """Launch a tree; one that does not get ready is ended.

        Raises:
            TierUnavailableError, SandboxError: As `start`.
        """
        self._errors = ""
        loop = asyncio.get_running_loop()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)  # noqa: FBT003  the socket's own signature
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-s", "-S", "-P", "-B", str(Path(__file__).with_name("jail") / "launch.py")),
                self.name,
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
            await self._end_tree()
            raise
        except (TimeoutError, SandboxError) as error:
            await self._end_tree()  # after which all its last words have been read
            reason = str(error) or f"the zygote was not ready after {_START_S:.0f} s"
            raise SandboxError(f"{reason}: {self._errors.strip() or 'without a word'}") from None
        except BaseException:
            await self._end_tree()
            raise
        self._gone = asyncio.Event()  # sessions of an earlier tree keep theirs

    async def _launch_again(self) -> None:
        """Put another tree in the place of one that has ended.

        Raises:
            HostGoneError: It does not start either; later it may.
        """
        async with self._launching:
            if self._plan is None:
                raise SandboxError("the sandbox host is closed")
            if not self._gone.is_set():  # another session was first
                return
            await self._end_tree()
            try:
                await self._launch(self._plan)
            except (SandboxError, OSError) as error:
                raise HostGoneError(f"{_GONE}, and do not start again ({error}); {_ADVICE}") from error

    async def open(self, limits: Limits) -> Ends:
        """Take a supervisor that was forked ahead, or fork one, and bound its group.

        Raises:
            HostGoneError: The tree ended meanwhile, or had and does not start again.
            SandboxError: Too many files are open.
        """
        if self._gone.is_set():
            await self._launch_again()
        ends, group = await self._take_spare() or await self._fork()
        try:
            if group is not None:
                group.bound(limits)
        except OSError as error:
            _give_back(ends)
            raise SandboxError(f"the session's cgroup does not take its bounds: {error}") from error
        if self._timer is None and self._ahead is None:
            self._timer = asyncio.get_running_loop().call_later(_AHEAD_S, self._fork_ahead)
        return ends

    async def _take_spare(self) -> _Spare | None:
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        try:
            return await ahead
        except SandboxError:  # what was wrong then need not be so now
            return None

    def _fork_ahead(self) -> None:
        """Have a supervisor ready for the next session, once this one has its first result."""
        self._timer = None
        if self._control is not None:
            self._ahead = asyncio.ensure_future(self._fork())

    async def _fork(self) -> _Spare:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._fork_once()
            except ZygoteDiedError:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    async def _fork_once(self) -> _Spare:
        assert self._cgroups is not None
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            try:
                control, channel = (_pair(ours, theirs) for _ in range(2))
                output, writing = os.pipe()
                ours.callback(os.close, output)
                theirs.callback(os.close, writing)
                os.set_blocking(output, False)
                async with self._turn:
                    pidfd = await self._request([control[1].fileno(), channel[1].fileno(), writing])
                ours.callback(os.close, pidfd)
                self._cgroups.sweep()
                group = self._cgroups.make(_pid_of(pidfd))
            except OSError as error:
                raise SandboxError(f"{_NO_ROOM} ({error.strerror})") from error
            ours.pop_all()
        destroy = _destroyer(pidfd, namespace=self.name == "jail")
        return Ends(control[0], channel[0], output, destroy, partial(self._has_gone, self._gone)), group

    async def _has_gone(self, gone: asyncio.Event) -> bool:
        """Whether a session's tree has ended. Only the zygote's answer tells when its end is not known yet.

        A zygote that has just died answers nothing, but its sessions go on: the keeper starts another.
        """
        if not gone.is_set():
            with contextlib.suppress(SandboxError, OSError):
                await self._request([])
        return gone.is_set()

    async def _request(self, descriptors: list[int]) -> int:
        """Ask the zygote; returns the pidfd of the session's supervisor.

        Args:
            descriptors: The session's ends; none to ask only whether the zygote answers, with -1.
        """
        self._requests += 1
        number = self._requests
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        try:
            if self._control is None:
                raise HostGoneError(f"{_GONE}; {_ADVICE}") if self._plan else SandboxError("the sandbox host is closed")
            word = "open" if descriptors else "answer"
            socket.send_fds(self._control, [json.dumps({word: number}).encode()], descriptors)
            async with asyncio.timeout(_OPEN_S):
                return await future
        except TimeoutError:
            raise SandboxError(f"the zygote did not answer within {_OPEN_S:.0f} s") from None
        except ConnectionError as error:
            self._on_gone()
            raise HostGoneError(f"{_GONE}; {_ADVICE}") from error
        finally:
            self._asked.pop(number, None)

    async def close(self) -> None:
        """End every session's processes, and what was forked ahead."""
        self._plan = None
        await self._end_tree()
        if self._cgroups is not None:
            await self._cgroups.close()

    async def _end_tree(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ahead is not None:
            await asyncio.wait([self._ahead])
            if self._ahead.exception() is None:
                _give_back(self._ahead.result()[0])
            self._ahead = None
        self._on_gone()
        if self._control is not None:
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
            self._on_opened(cast("int", message["opened"]), descriptors)
        elif "answered" in message:
            future = self._asked.pop(cast("int", message["answered"]), None)
            if future is not None and not future.done():
                future.set_result(-1)
        elif "zygote_died" in message:
            self._fail_asked(ZygoteDiedError("the zygote died while it opened a session"))
        elif self._ready is not None and not self._ready.done():
            if "refused" in message:
                self._ready.set_exception(
                    unavailable(str(message["refused"]), cast("int", message["errno"]), self.name)
                )
            else:
                self._ready.set_result(None)

    def _on_opened(self, number: int, descriptors: list[int]) -> None:
        future = self._asked.pop(number, None)
        if not descriptors:  # the kernel drops what there is no room for
            if future is not None and not future.done():
                future.set_exception(SandboxError(_NO_ROOM))
        elif future is None or future.done():
            os.close(descriptors[0])  # nobody waits any more; the closed control stream ends the supervisor
        else:
            future.set_result(descriptors[0])

    def _on_gone(self) -> None:
        """The keeper has ended, and with it everything."""
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
        self._gone.set()
        error = HostGoneError(f"{_GONE}; {_ADVICE}")
        self._fail_asked(error)
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)

    def _fail_asked(self, error: SandboxError) -> None:
        for future in self._asked.values():
            if not future.done():
                future.set_exception(error)


def _give_back(ends: Ends) -> None:
    ends.control.close()
    ends.channel.close()
    os.close(ends.output)
    ends.destroy()


def _pair(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    mine, other = socket.socketpair()
    ours.enter_context(mine)
    theirs.enter_context(other)
    mine.setblocking(False)  # noqa: FBT003  the socket's own signature
    return mine, other


def _pid_of(pidfd: int) -> int:
    """The process in our own pid namespace; 0 if it has ended."""
    for row in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if row.startswith("Pid:"):
            return max(int(row.split()[1]), 0)
    return 0


def _destroyer(pidfd: int, *, namespace: bool) -> Callable[[], None]:
    """Ends a session, once.

    Args:
        pidfd: Of its supervisor; closed.
        namespace: Whether the supervisor is the first of a pid namespace, with which all others in there end. If not,
            it kills them itself when its control stream closes, and only it knows them.
    """
    left = [pidfd]

    def destroy() -> None:
        if left:
            if namespace:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(left[0], signal.SIGKILL)
            os.close(left.pop())

    return destroy
