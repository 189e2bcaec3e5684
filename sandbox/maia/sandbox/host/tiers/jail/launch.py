"""The process that a host starts: confines itself as its tier says, and becomes the parent of the keeper.

Started as ``python -s -S -P -B launch.py TIER CONTROL_FD`` with an empty environment but for the hash seed; the plan is
on standard input. It answers on the control socket: a "refused" message if the kernel refuses a step, and from then on
what the zygote and the keeper say.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

sys.path.append(str(Path(__file__).resolve().parents[5]))  # the source root: there is no site module to find it

from maia.sandbox.confinement import kernel
from maia.sandbox.confinement.surrender import Filters
from maia.sandbox.host.tiers.jail.confine import GUEST_ID, JailCell, write_id_maps
from maia.sandbox.host.tiers.jail.keeper import keep
from maia.sandbox.host.tiers.jail.plan import Plan
from maia.sandbox.host.tiers.jail.root import below_tmp, enter_new_root, mount_tmp
from maia.sandbox.host.tiers.landlock.cell import LandlockCell

_CAP_SYS_ADMIN = 21
_NAMESPACES = (
    (kernel.CLONE_NEWPID, "pid"),
    (kernel.CLONE_NEWNET, "net"),
    (kernel.CLONE_NEWIPC, "ipc"),
    (kernel.CLONE_NEWUTS, "uts"),
    (kernel.CLONE_NEWCGROUP, "cgroup"),
)


def main() -> int:
    """Isolate this process, then keep a zygote until the host closes the control socket."""
    control = socket.socket(fileno=int(sys.argv[2]))
    control.set_inheritable(False)
    plan = Plan.from_json(sys.stdin.read())
    try:
        cell = _isolate(plan) if sys.argv[1] == "jail" else LandlockCell.prepared(plan)
    except OSError as error:
        step = getattr(error, "step", f"preparing the root at {error.filename}")
        control.send(json.dumps({"refused": step, "errno": error.errno or 0}).encode())
        return 1
    sys.path[:] = plan.sys_path
    _forget_host()
    keeper = os.fork()
    if keeper == 0:
        kernel.prctl("parent death signal", kernel.PR_SET_PDEATHSIG, 9)
        kernel.prctl("child subreaper", kernel.PR_SET_CHILD_SUBREAPER, 1)
        code = keep(control, lambda: _serve(control, cell))
        cell.end()
        os._exit(code)
    control.close()
    return os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1])


def _isolate(plan: Plan) -> JailCell:
    """Move into the new root and out of every namespace, with one user left: nobody."""
    filters = Filters.assembled()
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if _is_administrator():
        os.setgroups([])
        kernel.unshare(kernel.CLONE_NEWNS, "mount")
        enter_new_root(plan)
        _become_nobody(proc)
        _check_readable(plan)
    else:
        uid, gid = os.getuid(), os.getgid()
        kernel.unshare(kernel.CLONE_NEWUSER, "user")
        write_id_maps(proc, "self", uid, gid)
        kernel.unshare(kernel.CLONE_NEWNS, "mount")
        enter_new_root(plan)
    for flag, name in _NAMESPACES:
        kernel.unshare(flag, name)
    kept = below_tmp(plan)
    mount_tmp(16, kept)  # the zygote's own; guests mount theirs over it
    return JailCell(proc, filters, kept)


def _is_administrator() -> bool:
    """Whether this process may mount without a user namespace."""
    if Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
        return False  # root of a user namespace: what it may map is not for us to say
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return os.geteuid() == 0 and bool(int(effective.split()[1], 16) >> _CAP_SYS_ADMIN & 1)


def _become_nobody(proc: int) -> None:
    """Give up root for a user namespace in which only nobody exists; a helper outside writes its maps."""
    ready_read, ready_write = os.pipe()
    parent = os.getpid()
    helper = os.fork()
    if helper == 0:
        os.close(ready_write)
        os.read(ready_read, 1)
        try:
            write_id_maps(proc, str(parent), GUEST_ID, GUEST_ID)
        except kernel.StepError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    os.close(ready_read)
    kernel.unshare(kernel.CLONE_NEWUSER, "user")
    os.write(ready_write, b"x")
    os.close(ready_write)
    failure = os.waitstatus_to_exitcode(os.waitpid(helper, 0)[1])
    if failure:
        raise kernel.StepError("write uid_map", failure)
    os.setresgid(GUEST_ID, GUEST_ID, GUEST_ID)
    os.setresuid(GUEST_ID, GUEST_ID, GUEST_ID)
    kernel.prctl("dumpable", kernel.PR_SET_DUMPABLE, 1)
    kernel.unshare(kernel.CLONE_NEWNS, "mount")


def _check_readable(plan: Plan) -> None:
    """What root installed for itself alone would fail later and less readably."""
    for path in plan.binds:
        if not os.access(path, os.R_OK):
            raise kernel.StepError(f"read {path} as nobody", errno.EACCES)


def _forget_host() -> None:
    """Guests find in `sys.modules` only what they could import."""
    for name in [name for name in sys.modules if name.startswith("maia.sandbox.host")]:
        del sys.modules[name]
    vars(sys.modules["maia.sandbox"]).pop("host", None)


def _serve(control: socket.socket, cell: JailCell | LandlockCell) -> NoReturn:
    """In the zygote. Imports by name: this side of the wall only launches what lies on the other."""
    zygote = import_module("maia.sandbox.guest.zygote")
    zygote.serve(control, cell, cell.home)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
