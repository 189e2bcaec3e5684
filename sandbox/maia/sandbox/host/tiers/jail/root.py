"""Building a jail's root and moving into it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maia.sandbox.confinement import kernel

if TYPE_CHECKING:
    from maia.sandbox.host.tiers.jail.plan import Plan

__all__ = ["below_tmp", "enter_new_root", "mount_tmp"]

# Where the new root is put together: a directory that every Linux has and that holds none of what the root shows.
_WORKPLACE: Final = "/sys"
_DEVICES: Final = ("null", "zero", "urandom", "random")
_USERS: Final = "nobody:x:65534:65534:nobody:/tmp:/\n"

_ATTR_RDONLY: Final = 1
_ATTR_NOSUID: Final = 2
_ATTR_NODEV: Final = 4
_ATTR_NOEXEC: Final = 8


def enter_new_root(plan: Plan) -> None:
    """Build the root in this mount namespace, make it the only thing there is, and make it read-only.

    Raises:
        StepError: The kernel refused a mount.
        OSError: Something that the plan names is gone.
    """
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", _WORKPLACE, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755,size=1m")
    for path in plan.binds:
        if not any(path.startswith(f"{mask}/") for mask in plan.masks):
            _bind(path)
    for mask in plan.masks:
        kernel.mount("tmpfs", _WORKPLACE + mask, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755,size=1m")
    for path in plan.binds:
        if any(path.startswith(f"{mask}/") for mask in plan.masks):
            _bind(path)
    Path(_WORKPLACE, "tmp").mkdir(exist_ok=True)
    Path(_WORKPLACE, "etc").mkdir(exist_ok=True)
    Path(_WORKPLACE, "etc/passwd").write_text(_USERS)
    devices = [f"/dev/{name}" for name in _DEVICES]
    for device in devices:
        _mount_point(device, directory=False)
    kernel.mount_setattr(_WORKPLACE, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, recursive=True)
    for device in devices:
        kernel.mount(device, _WORKPLACE + device, None, kernel.MS_BIND)
        kernel.mount_setattr(_WORKPLACE + device, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NOEXEC, recursive=False)
    os.chdir(_WORKPLACE)
    kernel.pivot_root(".", ".")  # the old root now lies over the new one
    kernel.umount(".")
    os.chdir("/")


def _bind(path: str) -> None:
    _mount_point(path, directory=stat.S_ISDIR(os.stat(path).st_mode))  # noqa: PTH116  a string from the plan
    kernel.mount(path, _WORKPLACE + path, None, kernel.MS_BIND | kernel.MS_REC)


def _mount_point(path: str, *, directory: bool) -> None:
    point = Path(_WORKPLACE + path)
    if directory:
        point.mkdir(parents=True, exist_ok=True)
    else:
        point.parent.mkdir(parents=True, exist_ok=True)
        point.touch()


def mount_tmp(megabytes: int, kept: tuple[str, ...]) -> None:
    """Put a fresh, private /tmp in place; nothing in it can be executed.

    Args:
        megabytes: Its size.
        kept: Names in the present /tmp that stay, read-only: an installation below /tmp would be hidden otherwise.
    """
    trees = [(name, kernel.clone_tree(f"/tmp/{name}")) for name in kept]  # noqa: S108  the jail's own
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("tmpfs", "/tmp", "tmpfs", flags, f"mode=0777,size={megabytes}m,nr_inodes=4096")  # noqa: S108  the jail's own
    for name, tree in trees:
        point = Path("/tmp", name)  # noqa: S108  the jail's own
        point.mkdir()
        kernel.attach_tree(tree, str(point))
        os.close(tree)


def below_tmp(plan: Plan) -> tuple[str, ...]:
    """Names in /tmp through which the plan's paths lead."""
    return tuple(sorted({Path(path).parts[2] for path in plan.binds if path.startswith("/tmp/")}))  # noqa: S108  the jail's own
