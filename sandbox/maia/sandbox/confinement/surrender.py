"""The last steps of a guest before it runs code: the same in every tier, whatever the tier did before."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from maia.sandbox.confinement import kernel
from maia.sandbox.confinement.filter import assemble, assemble_fork_notice
from maia.sandbox.confinement.landlock import restrict

__all__ = ["Cell", "Files", "Filters", "GuestEnds", "surrender"]

_LOWEST_END: Final = 998
_SPARE_TASKS: Final = 2  # the supervisor and the checkpoint count with the guest's own threads


@dataclass(frozen=True, slots=True)
class GuestEnds:
    """A guest's descriptors beside 0, 1 and 2.

    Their numbers lie above its limit of open files: it can close them, but put no other file in their place.

    Attributes:
        channel: Frames to and from the host.
        cradle: To the supervisor, for one purpose: where a checkpoint is born and wakes.
    """

    channel: int
    cradle: int


@dataclass(frozen=True, slots=True)
class Files:
    """What Landlock leaves.

    Attributes:
        readable: Files, and directories with all below.
        writable: The same.
        listable: Directories whose names may be read, there and below, but no file.
        required: Refuse where there is no Landlock.
    """

    readable: Sequence[str]
    writable: Sequence[str]
    listable: Sequence[str] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Filters:
    """Seccomp programs, assembled once.

    Attributes:
        notice: Asks the supervisor about each fork.
        main: What is allowed, forks included.
        alone: What is allowed where nobody can be asked: no forks.
    """

    notice: bytes
    main: bytes
    alone: bytes

    @classmethod
    def assembled(cls) -> Filters:
        """For this machine.

        Raises:
            StepError: There is no filter for it.
        """
        machine = kernel.machine_index()
        return cls(assemble_fork_notice(machine), assemble(machine, forks=True), assemble(machine))


class Cell(Protocol):
    """What a tier does around a session's processes.

    Attributes:
        proc: Descriptor of a /proc in which the session's processes can be found; -1 without one.
    """

    proc: int

    def before_fork(self) -> None:
        """In the process that forks supervisors: prepare the next fork."""

    def after_fork(self) -> None:
        """There too: undo the preparation."""

    def enter_session(self) -> None:
        """In the supervisor, before it forks the guest: make what the session has of its own.

        Raises:
            OSError: The kernel refused a step.
        """

    def bound_session(self, limits: dict[str, int]) -> None:
        """There too, once the session's limits are known: bound what is shared by its processes.

        Raises:
            OSError: The kernel refused a step.
        """

    def enter_guest(self, ends: GuestEnds, output: int, limits: dict[str, int]) -> GuestEnds:
        """In the guest, before it runs code: `surrender`, with what the tier knows."""

    def enter_supervisor(self) -> None:
        """There too, at last: give up what is needed no longer."""

    def leave_session(self) -> None:
        """In the supervisor, at its end: remove what the session had of its own."""


def surrender(
    ends: GuestEnds,
    output: int,
    limits: dict[str, int],
    *,
    proc: int,
    tasks: int | None,
    files: Files | None,
    filters: Filters | None,
) -> GuestEnds:
    """Give everything up for good. What runs after this has its ends, its output and its memory.

    Args:
        ends: The two descriptors, at any numbers.
        output: Becomes standard output and errors.
        limits: memory_mb, tmp_mb, threads, open_files.
        proc: Descriptor of a /proc directory, or -1 without one; closed.
        tasks: Threads and processes that this user already has where they are counted; None where guests of different
            sessions would be counted together, and then their number is not bounded here.
        files: What Landlock leaves; None for no Landlock.
        filters: The system calls that stay; None for all.

    Returns:
        The ends at their new numbers. If the kernel refuses a step, it does not return: the supervisor is told and the
        process ends.
    """
    try:
        address_space = _address_space(proc)
        _die_first(proc)
        ends = _move_descriptors(ends, output, limits["open_files"])
        _set_limits(limits, address_space, tasks)
        kernel.drop_capabilities()
        kernel.prctl("no new privileges", kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.prctl("not dumpable", kernel.PR_SET_DUMPABLE, 0)
        abi = restrict(files.readable, files.writable, files.listable) if files else 0
        if files and files.required and not abi:
            raise kernel.StepError("landlock", errno.ENOSYS)
        _filter(ends.cradle, abi, filters)
    except OSError as error:
        step = str(getattr(error, "step", f"preparing the guest at {error.filename}"))
        os.write(ends.cradle, json.dumps({"step": step, "errno": error.errno or 0}).encode())
        os._exit(1)
    return ends


def _filter(cradle: int, abi: int, filters: Filters | None) -> None:
    """Install the filters, and tell the supervisor what is in force, the listener with it."""
    listener = -1
    if filters:
        with contextlib.suppress(OSError):  # an old kernel, gVisor, or an outer filter that keeps listeners to itself
            listener = kernel.install_listener(filters.notice)
    with socket.socket(fileno=os.dup(cradle)) as end:
        told = json.dumps({"landlock": abi, "seccomp": filters is not None}).encode()
        if listener < 0:
            end.send(told)
        else:
            socket.send_fds(end, [told], [listener])
            os.close(listener)
    if filters:
        kernel.install_seccomp(filters.alone if listener < 0 else filters.main)


def _address_space(proc: int) -> int:
    """Bytes of address space that the interpreter and its libraries take already."""
    if proc < 0:
        return 1 << 30
    descriptor = os.open("self/statm", os.O_RDONLY, dir_fd=proc)
    pages = int(os.read(descriptor, 100).split()[0])
    os.close(descriptor)
    return pages * resource.getpagesize()


def _die_first(proc: int) -> None:
    """Where the machine runs out of memory, the kernel kills guests before it kills the host or anyone else."""
    if proc >= 0:
        with contextlib.suppress(OSError):  # in a container /proc may be read-only; the engine has set it already
            descriptor = os.open("self/oom_score_adj", os.O_WRONLY, dir_fd=proc)
            try:
                os.write(descriptor, b"1000")
            finally:
                os.close(descriptor)


def _move_descriptors(ends: GuestEnds, output: int, open_files: int) -> GuestEnds:
    """Standard input is empty, standard output and errors are captured, the ends lie high, nothing else is open."""
    channel_end = max(_LOWEST_END, open_files) + 2
    cradle_end, spare = channel_end - 1, channel_end - 2
    _allow_descriptors(channel_end)
    kept = (ends.channel, ends.cradle, output)
    below = 3
    for number in (*sorted(kept), None):  # what a host had open may lie anywhere between
        kernel.close_range(below, None if number is None else number - 1)
        below = below if number is None else number + 1
    channel, cradle, output = (os.dup(number) for number in kept)  # low numbers now, out of the way of the next
    os.dup2(channel, channel_end, inheritable=False)
    os.dup2(cradle, cradle_end, inheritable=False)
    os.dup2(output, spare)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(spare, 1)
    os.dup2(spare, 2)
    kernel.close_range(3, spare)
    kernel.close_range(channel_end + 1, None)
    return GuestEnds(channel_end, cradle_end)


def _allow_descriptors(highest: int) -> None:
    try:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    except (OSError, ValueError) as error:
        raise kernel.StepError(f"setrlimit(open files, {highest + 1})", getattr(error, "errno", None) or 22) from error


def _set_limits(limits: dict[str, int], address_space: int, tasks: int | None) -> None:
    megabyte = 1 << 20
    bounds = [
        (resource.RLIMIT_AS, address_space + limits["memory_mb"] * megabyte),
        (resource.RLIMIT_FSIZE, limits["tmp_mb"] * megabyte),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_STACK, 8 * megabyte),
    ]
    if tasks is not None:
        bounds.append((resource.RLIMIT_NPROC, tasks + limits["threads"] + _SPARE_TASKS))
    for kind, value in bounds:
        try:
            resource.setrlimit(kind, (value, value))
        except (OSError, ValueError) as error:
            if kind == resource.RLIMIT_MSGQUEUE:  # gVisor refuses to set it, and has no message queues
                continue
            raise kernel.StepError(f"setrlimit({kind})", getattr(error, "errno", None) or 0) from error
