"""Numbers of system calls, (x86_64, aarch64), from the kernel's own headers: those that the guest's filter names, and
those that it denies without naming them."""

from __future__ import annotations

from typing import Final

from maia.sandbox.confinement.kernel import machine_index
from maia.sandbox.confinement.syscalls import ALLOWED, CONDITIONAL, KILLED, NOT_IMPLEMENTED, NOTHING_TO_DO, Numbers

__all__ = ["DENIED", "FATAL", "MACHINE", "NUMBERS"]

MACHINE: Final = machine_index()


def _here(*tables: Numbers) -> dict[str, int]:
    return {
        name: number
        for table in tables
        for name, by_machine in table.items()
        if (number := by_machine[MACHINE]) is not None
    }


_DENIED: Final[Numbers] = {
    # new processes and programs
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "wait4": (61, 260),
    "waitid": (247, 95),
    # signals and other processes
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "setpgid": (109, 154),
    "setsid": (112, 157),
    "setpriority": (141, 140),
    "getpriority": (140, 141),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    "process_mrelease": (448, 448),
    "set_mempolicy": (238, 237),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # identity
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    "setgroups": (116, 159),
    "capset": (126, 91),
    "setrlimit": (160, 164),
    "personality": (135, 92),
    "seccomp": (317, 277),
    "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446),
    "vhangup": (153, 58),
    # files
    "creat": (85, None),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "flock": (73, 32),
    "fadvise64": (221, 223),
    "readahead": (187, 213),
    "sync": (162, 81),
    "syncfs": (306, 267),
    "splice": (275, 76),
    "tee": (276, 77),
    "vmsplice": (278, 75),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "quotactl_fd": (443, 443),
    "cachestat": (451, 451),
    # sockets
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
    "sendmmsg": (307, 269),
    "recvmmsg": (299, 243),
    "shutdown": (48, 210),
    "setsockopt": (54, 208),
    "getsockopt": (55, 209),
    "getpeername": (52, 205),
    "getsockname": (51, 204),
    # objects that outlive a process or count for a user
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "mq_notify": (244, 184),
    "timer_create": (222, 107),
    "timerfd_create": (283, 85),
    "signalfd4": (289, 74),
    "io_setup": (206, 0),
    "mlock": (149, 228),
    "mlockall": (151, 230),
    "mlock2": (325, 284),
    "mincore": (27, 232),
    "pkey_alloc": (330, 289),
    "membarrier": (324, 283),
    "remap_file_pages": (216, 234),
    "syslog": (103, 116),
    "lookup_dcookie": (212, 18),
    "_sysctl": (156, None),
    "ustat": (136, None),
    "uselib": (134, None),
    "rseq_slice_yield": (471, 471),
    "listmount": (458, 458),
    "statmount": (457, 457),
    "lsm_set_self_attr": (460, 460),
    "map_shadow_stack": (453, 453),
    "futex_waitv": (449, 449),
}

DENIED: Final = _here(_DENIED)
"""Refused with EPERM, whatever the arguments."""

FATAL: Final = _here(KILLED)
"""End the process at once."""

NUMBERS: Final = {**_here(ALLOWED, CONDITIONAL, NOTHING_TO_DO, NOT_IMPLEMENTED), **DENIED, **FATAL}
"""All of them."""
