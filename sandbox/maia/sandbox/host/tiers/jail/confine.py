"""What happens to a fork of the zygote before guest code runs in it."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import Final

from maia.sandbox.host.tiers.jail import kernel
from maia.sandbox.host.tiers.jail.root import mount_tmp

__all__ = ["GUEST_ID", "Cell", "write_id_maps"]

GUEST_ID: Final = 65534
"""User and group of every guest."""

_SESSION_NAMESPACES: Final = (
    (kernel.CLONE_NEWUSER, "user"),
    (kernel.CLONE_NEWNS, "mount"),
    (kernel.CLONE_NEWNET, "net"),
    (kernel.CLONE_NEWIPC, "ipc"),
    (kernel.CLONE_NEWUTS, "uts"),
    (kernel.CLONE_NEWCGROUP, "cgroup"),
)
_CHANNEL_FD: Final = 1000
"""Above every guest's limit of open files: a guest can close it, but not put another file in its place."""


def write_id_maps(proc: int, process: str, outside_uid: int, outside_gid: int) -> None:
    """Map the one user and group of a fresh user namespace.

    Args:
        proc: Descriptor of a /proc; a jail's root has none.
        process: Name of the directory in it.
        outside_uid: What GUEST_ID is in the parent namespace.
        outside_gid: The same for groups.
    """
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{GUEST_ID} {outside_uid} 1"),
        ("gid_map", f"{GUEST_ID} {outside_gid} 1"),
    ):
        try:
            descriptor = os.open(f"{process}/{name}", os.O_WRONLY, dir_fd=proc)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise kernel.StepError(f"write {name}", error.errno or 0) from error


@dataclass(slots=True)
class Cell:
    """Makes forks of the zygote into guests.

    Attributes:
        proc: Descriptor of the launcher's /proc, closed in every guest.
        filter: The seccomp program.
        kept: Names in /tmp that every guest keeps.
        home: Descriptor of the zygote's own pid namespace, closed in every guest.
    """

    proc: int
    filter: bytes
    kept: tuple[str, ...]
    home: int = -1

    def before_fork(self) -> None:
        """Let the next fork be the first process of a new pid namespace."""
        if self.home < 0:
            self.home = os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
        kernel.unshare(kernel.CLONE_NEWPID, "pid")

    def after_fork(self) -> None:
        """In the zygote: later forks are ordinary again."""
        kernel.setns(self.home, kernel.CLONE_NEWPID, "pid")

    def enter(self, channel: int, output: int, limits: dict[str, int]) -> int:
        """In the fork: give everything up. What runs after this has the channel, the output and its memory.

        Args:
            channel: Descriptor of the frames.
            output: Descriptor that becomes standard output and errors.
            limits: memory_mb, tmp_mb, threads, open_files.

        Returns:
            The channel's new descriptor.

        Raises:
            StepError: The kernel refused a step; the process must end.
        """
        for flag, name in _SESSION_NAMESPACES:
            kernel.unshare(flag, name)
            if flag == kernel.CLONE_NEWUSER:
                kernel.prctl("dumpable", kernel.PR_SET_DUMPABLE, 1)  # else /proc/self/uid_map is root's
                write_id_maps(self.proc, "self", GUEST_ID, GUEST_ID)
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        mount_tmp(limits["tmp_mb"], self.kept)
        kernel.sethostname(b"sandbox")
        os.chdir("/tmp")  # noqa: S108  the jail's own
        os.umask(0o077)
        address_space = self._address_space()
        self._die_first()
        _move_descriptors(channel, output)
        _set_limits(limits, address_space)
        kernel.drop_capabilities()
        kernel.prctl("no new privileges", kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.prctl("not dumpable", kernel.PR_SET_DUMPABLE, 0)
        kernel.install_seccomp(self.filter)
        return _CHANNEL_FD

    def _die_first(self) -> None:
        """Where the machine runs out of memory, the kernel kills guests before it kills the host or anyone else."""
        descriptor = os.open("self/oom_score_adj", os.O_WRONLY, dir_fd=self.proc)
        os.write(descriptor, b"1000")
        os.close(descriptor)

    def _address_space(self) -> int:
        """Bytes of address space that the interpreter and its libraries take already."""
        descriptor = os.open("self/statm", os.O_RDONLY, dir_fd=self.proc)
        pages = int(os.read(descriptor, 100).split()[0])
        os.close(descriptor)
        return pages * resource.getpagesize()


def _move_descriptors(channel: int, output: int) -> None:
    """Standard input is empty, standard output and errors are captured, the channel lies high, nothing else is open."""
    low, high = sorted((channel, output))
    os.closerange(3, low)
    os.closerange(low + 1, high)
    kernel.close_from(high + 1)  # the control socket's number is the host's, and may be any
    channel, output = os.dup(channel), os.dup(output)  # low numbers now, out of the way of the next
    resource.setrlimit(resource.RLIMIT_NOFILE, (_CHANNEL_FD + 1, _CHANNEL_FD + 1))
    os.dup2(channel, _CHANNEL_FD, inheritable=False)
    spare = os.dup2(output, _CHANNEL_FD - 1)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(spare, 1)
    os.dup2(spare, 2)
    os.closerange(3, _CHANNEL_FD)
    kernel.close_from(_CHANNEL_FD + 1)


def _set_limits(limits: dict[str, int], address_space: int) -> None:
    megabyte = 1 << 20
    for kind, value in (
        (resource.RLIMIT_AS, address_space + limits["memory_mb"] * megabyte),
        (resource.RLIMIT_FSIZE, limits["tmp_mb"] * megabyte),
        (resource.RLIMIT_NPROC, limits["threads"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_STACK, 8 * megabyte),
    ):
        try:
            resource.setrlimit(kind, (value, value))
        except (OSError, ValueError) as error:
            raise kernel.StepError(f"setrlimit({kind})", getattr(error, "errno", None) or 0) from error
