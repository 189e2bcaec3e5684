"""What happens around a session's processes where there are no namespaces."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from maia.sandbox.confinement import kernel
from maia.sandbox.confinement.landlock import supported_abi
from maia.sandbox.confinement.surrender import Files, Filters, GuestEnds, surrender
from maia.sandbox.host.tiers.landlock.removal import remove_tree

if TYPE_CHECKING:
    from maia.sandbox.host.tiers.jail.plan import Plan

__all__ = ["LandlockCell"]

_FIRST_USER: Final = 0x6D610000
"""Users that sessions of root become, each its own: a range that neither systems nor containers hand out."""

_END_S: Final = 2.0
_USERS: Final = 0x10000
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


@dataclass(slots=True)
class LandlockCell:
    """Gives each session a folder and, where the host is root, a user of its own.

    Attributes:
        proc: Descriptor of /proc, closed in every guest.
        filters: The seccomp programs.
        shown: Files and directories that guests may read.
        listed: Directories whose names they may read.
        own_users: Whether each session becomes a user of its own: root can, if all users can read what is installed.
        base: Holds the sessions' folders.
        home: Where libraries keep what they cache.
    """

    proc: int
    filters: Filters
    shown: tuple[str, ...]
    listed: tuple[str, ...]
    own_users: bool
    base: Path
    home: str
    _forks: int = 0
    _folder: Path = field(default=Path())

    @classmethod
    def prepared(cls, plan: Plan) -> Self:
        """In the launcher.

        Raises:
            OSError: There is no Landlock, or no place for folders.
        """
        if not supported_abi():
            raise kernel.StepError("landlock", errno.ENOSYS)
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        _remove_orphans()
        base = Path(tempfile.mkdtemp(prefix=f"maia-landlock-{os.getpid()}-"))
        base.chmod(0o711)
        home = base / "home"
        home.mkdir(mode=0o755)
        shown = (*plan.binds, *_DEVICES, str(home))
        own_users = os.geteuid() == 0 and all(map(_open_to_all, plan.binds))
        return cls(proc, Filters.assembled(), shown, plan.sys_path, own_users, base, str(home))

    def before_fork(self) -> None:
        """Choose the next session's user."""
        self._forks += 1

    def after_fork(self) -> None:
        """Nothing to undo."""

    def enter_session(self) -> None:
        """Make the folder and become its user."""
        self._folder = Path(tempfile.mkdtemp(dir=self.base))
        if self.own_users:
            user = _FIRST_USER + self._forks % _USERS
            os.chown(self._folder, user, user)
            os.setgroups([])
            kernel.drop_bounding_capabilities()
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            kernel.prctl("dumpable", kernel.PR_SET_DUMPABLE, 1)  # else /proc/self is root's
        os.environ["TMPDIR"] = os.environ["HOME"] = tempfile.tempdir = str(self._folder)
        os.chdir(self._folder)
        os.umask(0o077)

    def bound_session(self, limits: dict[str, int]) -> None:
        """The folder has no size."""

    def enter_guest(self, ends: GuestEnds, output: int, limits: dict[str, int]) -> GuestEnds:
        """Give up everything but the ends, the output, memory and the folder."""
        kernel.prctl("parent death signal", kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        files = Files(self.shown, [str(self._folder), "/dev/null"], self.listed, required=True)
        tasks = 0 if self.own_users else None
        return surrender(ends, output, limits, proc=self.proc, tasks=tasks, files=files, filters=self.filters)

    def enter_supervisor(self) -> None:
        """Keep nothing that a guest has not, but the right to signal it."""
        kernel.drop_capabilities()
        kernel.prctl("no new privileges", kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.prctl("not dumpable", kernel.PR_SET_DUMPABLE, 0)

    def leave_session(self) -> None:
        """Kill what is left, whether or not it was known, and remove the folder."""
        self._kill_children(within_s=0.0)
        remove_tree(self._folder)

    def end(self) -> None:
        """In the keeper: give supervisors a moment to end their sessions, end what is left, and remove all folders."""
        self._kill_children(within_s=_END_S)
        remove_tree(self.base)

    def _kill_children(self, within_s: float) -> None:
        """Kill this process's children, and those that come to it, for it is their reaper; wait until they are gone."""
        patience = time.monotonic() + within_s
        with contextlib.suppress(ChildProcessError):
            while True:
                late = time.monotonic() >= patience
                for pid in self._children() if late else ():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                if os.waitpid(-1, 0 if late else os.WNOHANG)[0] == 0:
                    time.sleep(0.005)

    def _children(self) -> list[int]:
        try:
            children = os.open("thread-self/children", os.O_RDONLY, dir_fd=self.proc)
        except OSError:
            return []
        with os.fdopen(children) as file:
            return [int(pid) for pid in file.read().split()]


def _open_to_all(path: str) -> bool:
    """Whether every directory on the way lets everyone through."""
    return all(parent.stat().st_mode & 0o001 for parent in Path(path).parents)


def _remove_orphans() -> None:
    """Remove what hosts of this user left that were killed with all their processes."""
    for folder in Path(tempfile.gettempdir()).glob("maia-landlock-*-*"):
        owner = folder.name.split("-")[2]
        if owner.isdigit() and not Path("/proc", owner).exists() and folder.lstat().st_uid == os.geteuid():
            remove_tree(folder)
