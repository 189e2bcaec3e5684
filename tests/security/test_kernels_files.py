"""Attacks on what the kernel shows as files: /proc, /sys, devices.

A jail has no /proc and no /sys. Under Landlock alone and in a container they are there and cannot be opened. In gVisor
there is no Landlock, and they are those of its own kernel: what can be read there is the container's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.security.attack import Tier, each
from tests.security.conftest import Attack

pytestmark = pytest.mark.asyncio(loop_scope="session")

READ = """
import os
for path in {paths!r}:
    try:
        if found := os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 65536):
            print('read', path, found)
    except OSError as error:
        print(type(error).__name__, path)
"""


@pytest.fixture
def victim(secret: str) -> Iterator[int]:
    """A process of the host with a secret in its environment, of the user that most guests are."""
    become = "import os, sys\nos.geteuid() == 0 and os.setresuid(65534, 65534, 65534)\nsys.stdin.read()"
    environment = {"SECRET": secret}
    with subprocess.Popen([sys.executable, "-c", become], stdin=subprocess.PIPE, env=environment) as process:
        yield process.pid
        process.kill()


OF_A_PROCESS = ("environ", "mem", "maps", "cmdline", "stat", "status", "root/etc/passwd", "cwd", "auxv", "stack")
OF_ITSELF = (*OF_A_PROCESS, "exe", "mountinfo", "cgroup", "task/1/environ", "ns/user", "attr/current")


@pytest.mark.parametrize("name", [*OF_A_PROCESS, "fd/0"])
async def test_a_file_about_a_process_of_the_host_cannot_be_read(
    attack: Attack, victim: int, tier: Tier, secret: str, name: str
) -> None:
    paths = [f"/proc/{pid}/{name}" for pid in (victim, os.getpid(), os.getppid())]
    async with attack(READ.format(paths=paths)) as result:
        assert not result.tells(secret)
        assert "read" not in result.output or tier.own_kernel


@pytest.mark.parametrize("name", OF_ITSELF)
async def test_a_file_about_the_guest_and_its_parent_tells_nothing_of_the_host(
    attack: Attack, tier: Tier, secret: str, name: str
) -> None:
    code = f"import os\npaths = [f'/proc/{{p}}/{name}' for p in ('self', os.getpid(), os.getppid(), 1)]\n"
    async with attack(code + READ.replace("{paths!r}", "paths")) as result:
        assert not result.tells(secret)
        images_own = tier.own_proc and name in ("exe", "root/etc/passwd")
        assert "read" not in result.output or tier.own_kernel or images_own


SYSTEM = {
    "the kernel's memory": "/proc/kcore",
    "the kernel's symbols": "/proc/kallsyms",
    "the kernel's messages": "/proc/kmsg",
    "the kernel's command line": "/proc/cmdline",
    "the keys of users": "/proc/keys",
    "the processes' table": "/proc/sched_debug",
    "the mounted file systems": "/proc/mounts",
    "the network's connections": "/proc/net/tcp",
    "the network's unix sockets": "/proc/net/unix",
    "the locks on files": "/proc/locks",
    "the modules": "/proc/modules",
    "the interrupts": "/proc/interrupts",
    "the machine's identity": "/proc/sys/kernel/random/boot_id",
    "the host's name": "/proc/sys/kernel/hostname",
    "the control groups": "/sys/fs/cgroup/cgroup.procs",
    "the network's devices": "/sys/class/net/eth0/address",
    "the firmware's tables": "/sys/firmware/dmi/tables/DMI",
    "the kernel's security": "/sys/kernel/security/lsm",
    "the kernel's tracing": "/sys/kernel/tracing/trace",
    "the processor's flaws": "/sys/devices/system/cpu/vulnerabilities/meltdown",
}


@each("path", SYSTEM)
async def test_a_file_about_the_system_cannot_be_read(attack: Attack, tier: Tier, path: str) -> None:
    async with attack(READ.format(paths=[path])) as result:
        assert "read" not in result.output or tier.own_kernel


WRITES = {
    "the program for cores": ("/proc/sys/kernel/core_pattern", "|/tmp/x"),
    "the program for modules": ("/proc/sys/kernel/modprobe", "/tmp/x"),
    "the key that ends everything": ("/proc/sysrq-trigger", "h"),
    "the way memory is promised": ("/proc/sys/vm/overcommit_memory", "1"),
    "the host's name": ("/proc/sys/kernel/hostname", "stolen"),
    "its own priority when memory runs out": ("/proc/self/oom_score_adj", "-1000"),
    "its own memory": ("/proc/self/mem", "x"),
    "its own users": ("/proc/self/uid_map", "0 0 1"),
    "its own groups": ("/proc/self/setgroups", "allow"),
    "its own security label": ("/proc/self/attr/current", "unconfined"),
    "the priority of its parent when memory runs out": ("/proc/1/oom_score_adj", "-1000"),
    "its way to wake on a page": ("/proc/self/clear_refs", "1"),
    "another control group": ("/sys/fs/cgroup/cgroup.procs", "0"),
    "another limit of memory": ("/sys/fs/cgroup/memory.max", "max"),
    "another limit of memory, as it was called": ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "-1"),
    "a program for empty control groups": ("/sys/fs/cgroup/memory/release_agent", "/tmp/x"),
    "the machine's sleep": ("/sys/power/state", "mem"),
    "a kernel's probe": ("/sys/kernel/tracing/kprobe_events", "p:x do_exit"),
}


@each("case", WRITES)
async def test_a_file_of_the_kernels_cannot_be_written(attack: Attack, tier: Tier, case: tuple[str, str]) -> None:
    path, text = case
    before = _read(path) if "self" not in path else ""
    code = f"import os\nos.write(os.open({path!r}, os.O_WRONLY), {text.encode()!r})\nprint('written')"
    async with attack(code) as result:
        assert "written" not in result.output or tier.own_kernel
        if "self" not in path:
            assert _read(path) == before


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


DEVICES = (
    *("mem", "kmem", "port", "kmsg", "vda", "sda", "nvme0n1", "loop0", "loop-control", "mapper/control", "fuse", "kvm"),
    *("net/tun", "vhost-net", "tty", "tty0", "console", "vcs", "ptmx", "pts/0", "userfaultfd", "snapshot", "cpu/0/msr"),
    *("dri/card0", "input/event0", "hwrng", "rtc0", "uinput", "nvidia0", "mqueue/x", "shm/x", "log", "bus/usb/001/001"),
)


@pytest.mark.parametrize("name", DEVICES)
async def test_a_device_cannot_be_opened(attack: Attack, tier: Tier, name: str) -> None:
    code = f"""
import os
for flags in (os.O_RDWR, os.O_WRONLY, os.O_RDONLY, os.O_RDWR | os.O_CREAT):
    try:
        os.open('/dev/{name}', flags | os.O_NONBLOCK)
        print('open')
    except OSError:
        pass
"""
    # Of the container's own, or of gVisor's kernel; no ioctl that would make anything of them is allowed.
    harmless = {"ptmx", "tty", "pts/0"} if tier.own_proc else set()
    harmless |= {"fuse", "net/tun"} if tier.own_kernel else set()
    async with attack(code) as result:
        assert "open" not in result.output or name in harmless


async def test_what_is_written_to_devices_that_are_there_goes_nowhere(attack: Attack) -> None:
    code = """
import os
for name in ('null', 'zero', 'random', 'urandom'):
    try:
        print(os.write(os.open(f'/dev/{name}', os.O_WRONLY), b'x'))
    except OSError as error:
        print(type(error).__name__)
print(len(os.read(os.open('/dev/urandom', os.O_RDONLY), 16)))
"""
    async with attack(code) as result:
        assert result.early or result.output.endswith("16\n")


async def test_the_entropy_of_the_host_cannot_be_changed(attack: Attack) -> None:
    code = """
device = os.open('/dev/urandom', os.O_RDONLY)
print(*(syscall('ioctl', device, request, 0) for request in (0x5204, 0x5206, 0x5207)))
"""
    async with attack(code, native=True) as result:
        assert result.said("EPERM EPERM EPERM\n")
