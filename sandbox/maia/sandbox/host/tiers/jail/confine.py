"""What happens in a jail around a session's processes, before guest code runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from maia.sandbox.confinement import kernel
from maia.sandbox.confinement.surrender import Files, Filters, GuestEnds, surrender
from maia.sandbox.host.tiers.jail.root import mount_tmp

__all__ = ["GUEST_ID", "JailCell", "write_id_maps"]

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
class JailCell:
    """Gives each session namespaces and a /tmp of its own.

    Attributes:
        proc: Descriptor of the launcher's /proc, closed in every guest.
        filters: The seccomp programs.
        kept: Names in /tmp that every guest keeps.
        home: Where libraries keep what they cache.
        zygotes: Descriptor of the zygote's own pid namespace, closed in every guest.
    """

    proc: int
    filters: Filters
    kept: tuple[str, ...]
    home: str = "/tmp"  # noqa: S108  the jail's own
    zygotes: int = -1

    def before_fork(self) -> None:
        """Let the next fork be the first process of a new pid namespace."""
        if self.zygotes < 0:
            self.zygotes = os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
        kernel.unshare(kernel.CLONE_NEWPID, "pid")

    def after_fork(self) -> None:
        """In the zygote: later forks are ordinary again."""
        kernel.setns(self.zygotes, kernel.CLONE_NEWPID, "pid")

    def enter_session(self) -> None:
        """Leave every namespace that is shared with others."""
        for flag, name in _SESSION_NAMESPACES:
            kernel.unshare(flag, name)
            if flag == kernel.CLONE_NEWUSER:
                kernel.prctl("dumpable", kernel.PR_SET_DUMPABLE, 1)  # else /proc/self/uid_map is root's
                write_id_maps(self.proc, "self", GUEST_ID, GUEST_ID)
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.sethostname(b"sandbox")
        os.umask(0o077)

    def bound_session(self, limits: dict[str, int]) -> None:
        """Give it a /tmp of its size."""
        mount_tmp(limits["tmp_mb"], self.kept)

    def enter_guest(self, ends: GuestEnds, output: int, limits: dict[str, int]) -> GuestEnds:
        """Give up everything but the ends, the output and memory."""
        os.chdir("/tmp")  # noqa: S108  the jail's own
        files = Files(readable=["/"], writable=["/tmp", "/dev/null"])  # noqa: S108  the jail's own
        return surrender(ends, output, limits, proc=self.proc, tasks=0, files=files, filters=self.filters)

    def enter_supervisor(self) -> None:
        """No capability is needed to signal processes of the same user, nor to wait for them."""
        kernel.drop_capabilities()
        kernel.prctl("no new privileges", kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.prctl("not dumpable", kernel.PR_SET_DUMPABLE, 0)

    def leave_session(self) -> None:
        """The kernel removes namespaces, and all that is in them, with their last process."""

    def end(self) -> None:
        """In the keeper: with it, the first of their pid namespace, all processes end."""
