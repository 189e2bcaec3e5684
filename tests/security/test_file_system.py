# ruff: noqa: ASYNC240  files are looked at between attacks, when nothing else runs
"""Attacks on files: the host's, those that all guests share, another session's."""

from __future__ import annotations

import fcntl
import random
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from tests.security.attack import LIMITS, Tier, each
from tests.security.conftest import Attack

from maia.sandbox import Host, Tool

pytestmark = pytest.mark.asyncio(loop_scope="session")

READERS = {
    "open": "print(open({path!r}).read())",
    "pathlib": "from pathlib import Path\nprint(Path({path!r}).read_text())",
    "NumPy": "print(np.fromfile({path!r}, dtype='u1').tobytes())",
    "NumPy's reader of text": "print(np.loadtxt({path!r}, dtype=str))",
    "a mapping into memory": "print(bytes(np.memmap({path!r}, mode='r')))",
    "a path of many parents": "print(open('/tmp' + '/..' * 30 + {path!r}).read())",
    "a path through the working directory's parents": "print(open('../' * 30 + {path!r}).read())",
    "a path relative to a descriptor of the root": """
        import os
        print(os.read(os.open({path!r}[1:], os.O_RDONLY, dir_fd=os.open('/', os.O_RDONLY)), 99))
    """,
    "a path of parents relative to a descriptor": """
        import os
        print(os.read(os.open('../' * 9 + {path!r}[1:], os.O_RDONLY, dir_fd=os.open('.', os.O_RDONLY)), 99))
    """,
    "a descriptor that is only a path": """
        import os
        place = os.open({path!r}, os.O_PATH)
        print(os.read(os.open(f'/proc/self/fd/{{place}}', os.O_RDONLY), 99))
    """,
    "a change of directory": "import os\nos.chdir(os.path.dirname({path!r}))\nprint(open('secret.txt').read())",
    "a change of root": "import os\nos.chroot('/')\nprint(open({path!r}).read())",
    "a symbolic link": "import os\nos.symlink({path!r}, 'link')\nprint(open('link').read())",
    "a hard link": "import os\nos.link({path!r}, 'link')\nprint(open('link').read())",
    "a copy inside the kernel": """
        import os
        source, target = os.open({path!r}, os.O_RDONLY), os.open('copy', os.O_RDWR | os.O_CREAT)
        os.copy_file_range(source, target, 99)
        print(os.pread(target, 99, 0))
    """,
    "a rename to its own folder": "import os\nos.rename({path!r}, 'stolen')\nprint(open('stolen').read())",
    "the lines that tracebacks show": "import linecache\nprint(linecache.getlines({path!r}))",
    "an import of it as a module": """
        from importlib.machinery import SourceFileLoader
        print(SourceFileLoader('secret', {path!r}).get_data({path!r}))
    """,
    "Pillow, whose error shows what it read": "print(Image.open({path!r}))",
    "a configuration parser": """
        import configparser
        print(configparser.ConfigParser().read({path!r}))
    """,
    "a database": "import sqlite3\nprint(sqlite3.connect({path!r}).execute('select * from x').fetchall())",
    "a package's resources": "import pkgutil\nprint(pkgutil.get_data('json', '../' * 30 + {path!r}))",
    "a font": "from PIL import ImageFont\nprint(ImageFont.truetype({path!r}))",
    "the C library": """
        import ctypes
        libc = ctypes.CDLL(None)
        buffer = ctypes.create_string_buffer(99)
        libc.read(libc.open({path!r}.encode(), 0), buffer, 99)
        print(buffer.value)
    """,
    "a program": "import os\nprint(os.popen('cat ' + {path!r}).read())",
}


@each("code", READERS)
async def test_a_file_of_the_host_cannot_be_read(attack: Attack, secret: str, open_house: Path, code: str) -> None:
    async with attack(code.format(path=str(open_house / "secret.txt"))) as result:
        assert not result.tells(secret)
    assert (open_house / "secret.txt").read_text() == secret


HANDLES = {
    "name_to_handle_at": "syscall('name_to_handle_at', -100, {path!r}.encode(), h, h, 0)",
    "open_by_handle_at": "syscall('open_by_handle_at', 3, ctypes.create_string_buffer(bytes(136)), 0)",
    "open_tree": "syscall('open_tree', -100, b'/', 1)",
    "chroot": "syscall('chroot', b'.')",
    "pivot_root": "syscall('pivot_root', b'.', b'.')",
    "mount of the root": "syscall('mount', b'/', b'/tmp', 0, 4096, 0)",
    "mount of a /proc": "syscall('mount', b'proc', b'/tmp', b'proc', 0, 0)",
    "mount_setattr": "syscall('mount_setattr', -100, b'/', 0x8000, ctypes.create_string_buffer(32), 32)",
    "a mount namespace": "syscall('unshare', 0x20000)",
    "a user namespace": "syscall('unshare', 0x10000000)",
    "the host's mount namespace": "syscall('setns', 0, 0x20000)",
}


@each("call", HANDLES)
async def test_a_way_around_paths_ends_the_process(attack: Attack, tier: Tier, open_house: Path, call: str) -> None:
    if tier.container and "handle" not in call:
        pytest.skip("each costs a container; the filter is the one that the jail shows in full")
    code = f"h = ctypes.create_string_buffer(136)\n{call.format(path=str(open_house / 'secret.txt'))}\nprint('went on')"
    async with attack(code, native=True) as result:
        assert "went on" not in result.output
        assert result.status in ("killed", "policy")


@pytest.mark.parametrize(
    "path",
    ["/etc/shadow", "/etc/hosts", "/root/.bashrc", "/proc/1/environ", "/sys/kernel", "/home", "/var", "/usr/bin"],
)
async def test_well_known_places_of_the_host_are_not_there(attack: Attack, tier: Tier, path: str) -> None:
    """Without a root of its own a session sees that they are there, and opens none; a container has its image's own."""
    code = f"""
import os
print('seen' if os.path.exists({path!r}) else 'absent')
try:
    found = os.listdir({path!r}) if os.path.isdir({path!r}) else open({path!r}).read()
    print('opened', found)
except OSError:
    pass
"""
    async with attack(code) as result:
        if not tier.container:
            assert "opened" not in result.output
        if tier.own_names and not tier.container:
            assert "seen" not in result.output
        for line in _lines(path):
            assert line not in result.output


def _lines(path: str) -> list[str]:
    """What would show that a file is the host's."""
    try:
        return [line for line in Path(path).read_text().splitlines() if len(line) > 20]
    except OSError:
        return []


WRITERS = {
    "open": "open({path!r}, 'w').write('x')",
    "an append to what is there": "open({folder!r} + '/secret.txt', 'a').write('x')",
    "a truncation": "import os\nos.truncate({folder!r} + '/secret.txt', 0)",
    "a removal": "import os\nos.unlink({folder!r} + '/secret.txt')",
    "a removal of the whole folder": "import shutil\nshutil.rmtree({folder!r})",
    "other times": "import os\nos.utime({folder!r} + '/secret.txt', (1, 1))",
    "other times, by the system call": "import os\nos.utime({folder!r}, (1, 1))",
    "another mode": "import os\nos.chmod({folder!r} + '/secret.txt', 0o4777)",
    "another owner": "import os\nos.chown({folder!r} + '/secret.txt', os.getuid(), -1)",
    "an attribute": "import os\nos.setxattr({folder!r} + '/secret.txt', 'user.x', b'x')",
    "NumPy": "np.save({path!r}, np.zeros(3))",
    "NumPy's raw bytes": "np.zeros(3).tofile({path!r})",
    "a mapping into memory": "np.memmap({folder!r} + '/secret.txt', mode='r+')[:] = 0",
    "Pillow": "Image.new('L', (1, 1)).save({path!r}, 'PNG')",
    "a figure": "import matplotlib.pyplot as plt\nplt.figure().savefig({path!r}, format='png')",
    "a directory": "import os\nos.makedirs({path!r})",
    "a rename": "import os\nopen('a', 'w').close()\nos.rename('a', {path!r})",
    "an exchange": """
        import os
        open('a', 'w').close()
        print(syscall('renameat2', -100, b'a', -100, ({folder!r} + '/secret.txt').encode(), 2))
    """,
    "a hard link": "import os\nopen('a', 'w').close()\nos.link('a', {path!r})",
    "a symbolic link": "import os\nos.symlink('/etc', {path!r})",
    "a named pipe": "import os\nos.mkfifo({path!r})",
    "a socket": "import socket\nsocket.socket(socket.AF_UNIX).bind({path!r})",
    "a device": "import os\nos.mknod({path!r}, 0o20666, os.makedev(1, 3))",
    "a file without a name that gets one": """
        import os
        nameless = os.open({folder!r}, os.O_TMPFILE | os.O_RDWR, 0o600)
        os.link(f'/proc/self/fd/{{nameless}}', {path!r})
    """,
    "an archive that climbs out": """
        import io, tarfile
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode='w') as archive:
            archive.addfile(tarfile.TarInfo('../' * 9 + {path!r}[1:]))
        buffer.seek(0)
        tarfile.open(fileobj=buffer).extractall('.')
    """,
    "a database": "import sqlite3\nsqlite3.connect({path!r}).execute('create table x (y)')",
    "a log": "import logging\nlogging.basicConfig(filename={path!r})\nlogging.error('x')",
    "a core of itself": "import os\nos.chdir({folder!r})\nos.abort()",
}


@each("code", WRITERS)
async def test_nothing_can_be_planted_or_changed_on_the_host(
    attack: Attack, tier: Tier, open_house: Path, secret: str, code: str
) -> None:
    before = _about(open_house)
    planted = code.format(path=str(open_house / "planted.png"), folder=str(open_house))
    async with attack(planted, native="syscall(" in code, fresh="abort" in code):
        assert _about(open_house) == before
    assert (open_house / "secret.txt").read_text() == secret


def _about(folder: Path) -> dict[str, tuple[int, ...]]:
    entries = [folder, *folder.rglob("*")]
    found = {str(entry): entry.lstat() for entry in entries}
    return {name: (s.st_mode, s.st_size, s.st_mtime_ns, s.st_uid, s.st_nlink, s.st_ino) for name, s in found.items()}


CHANGES = {
    "an append": "open(path, 'a').write('#')",
    "a removal": "import os\nos.unlink(path)",
    "a truncation": "import os\nos.truncate(path, 0)",
    "another file in its place": "import os\nopen('x', 'w').close()\nos.rename('x', path)",
    "other times": "import os\nos.utime(path, (1, 1))\nprint('no error')",
    "a hole": "syscall('fallocate', os.open(path, os.O_RDONLY), 3, 0, 4096)\nraise OSError",
}


@each("change", CHANGES)
@pytest.mark.parametrize("module", ["numpy", "json"])
async def test_code_that_guests_share_with_the_host_cannot_be_changed(
    attack: Attack, tier: Tier, module: str, change: str
) -> None:
    home = np.__file__ if module == "numpy" else f"{sysconfig.get_path('stdlib')}/json/__init__.py"
    before, about = Path(home).read_bytes(), Path(home).stat()
    here = f"import {module}\npath = {module}.__file__\n"
    async with attack(here + change, native="syscall" in change) as result:
        assert result.status != "ok" or result.output == "no error\n"
    assert Path(home).read_bytes() == before
    assert Path(home).stat().st_mtime_ns == about.st_mtime_ns


async def test_tmp_is_the_sessions_own(attack: Attack, tier: Tier, empty_tmp: list[str]) -> None:
    """Under Landlock alone it is a folder of the host's /tmp, and nothing beside it can be listed or made."""
    mark = Path("/tmp/of-the-host")
    mark.touch()
    code = """
import os
try:
    print(sorted(os.listdir('/tmp')))
except OSError as error:
    print(type(error).__name__)
try:
    open('/tmp/of-the-guest', 'w').close()
except OSError:
    pass
"""
    async with attack(code, fresh=True) as result:
        assert mark.name not in result.output
        if not tier.container:  # the image has files of its own there
            assert result.output in ("", f"{empty_tmp}\n" if tier.own_names else "PermissionError\n")
    mark.unlink()
    assert not Path("/tmp/of-the-guest").exists()


async def test_the_root_holds_nothing_but_what_python_needs(attack: Attack, tier: Tier) -> None:
    if not tier.own_names:
        pytest.skip("this tier has no root of its own: names can be seen, files cannot be opened")
    if tier.container:
        pytest.skip("the root is the image's: tests/integration/sandbox looks at what is in it")
    code = (
        "import os\nfound = [path for path in ('/usr/bin', '/bin', '/sbin', '/var', '/home') if os.path.exists(path)]\n"
        "print(sorted(os.listdir('/dev')), os.listdir('/etc'), found)"
    )
    async with attack(code) as result:
        assert result.output in ("", "['null', 'random', 'urandom', 'zero'] ['passwd'] []\n")


PLACES = {
    "the root": "'/'",
    "the parent of /tmp": "'/tmp/..'",
    "the devices": "'/dev'",
    "shared memory": "'/dev/shm'",
    "the configuration": "'/etc'",
    "the installed packages": "os.path.dirname(np.__file__)",
    "the standard library": "os.path.dirname(os.__file__)",
    "another temporary folder": "'/var/tmp'",
    "the runtime's folder": "'/run'",
}


@each("place", PLACES)
async def test_nothing_outside_tmp_is_writable(attack: Attack, place: str) -> None:
    code = f"import os\nplace = {place}\nopen(place + '/planted-by-a-guest', 'w')\nprint('written')"
    async with attack(code) as result:
        assert result.status in ("exception", "policy"), result.output
    assert not [folder for folder in ("/", "/dev", "/dev/shm", "/etc", "/run", "/var/tmp") if _planted(folder)]


def _planted(folder: str) -> bool:
    return Path(folder, "planted-by-a-guest").exists()


PRIVILEGED_FILES = {
    "a program that runs as another": "os.open('x', os.O_CREAT, 0o6777)\nassert os.stat('x').st_mode & 0o6000 == 0",
    "a program at all": "open('x', 'w').write('#!/bin/sh')\nos.execv('./x', ['x'])",
    "a program in memory": "f = syscall('memfd_create', b'x', 0)\nassert f == 'EPERM', f\nraise OSError",
    "a program by descriptor": """
        answer = syscall('execveat', os.open(os.__file__, os.O_PATH), b'', 0, 0, 0x1000)
        assert answer == 'EPERM'
        raise OSError
    """,
    "a block device": "os.mknod('disk', 0o60666, os.makedev(254, 0))",
    "a character device": "os.mknod('memory', 0o20666, os.makedev(1, 1))",
    "a capability of a file": "open('x', 'w').close()\nos.setxattr('x', 'security.capability', bytes(20))",
    "an attribute of a file": "open('x', 'w').close()\nos.setxattr('x', 'user.x', b'x')",
    "another mode of a file": "open('x', 'w').close()\nos.chmod('x', 0o4755)",
}


@each("code", PRIVILEGED_FILES)
async def test_a_file_with_a_power_of_its_own_cannot_be_made(attack: Attack, tier: Tier, code: str) -> None:
    async with attack(code, native=True) as result:
        assert result.status in ("exception", "policy") or "O_CREAT" in code, result.output
        assert "AssertionError" not in result.message


LOCKS = {
    "flock": "fcntl.flock(file, fcntl.LOCK_SH)",
    "a POSIX lock": "fcntl.lockf(file, fcntl.LOCK_SH)",
    "a lock of an open file": "fcntl.fcntl(file, 36, bytes(32))",
    "a lease": "fcntl.fcntl(file, 1024, fcntl.F_RDLCK)",
    "a notice of changes": "fcntl.fcntl(os.open('/', os.O_RDONLY), 1026, 1)",
}


@each("lock", LOCKS)
async def test_a_file_that_guests_share_with_the_host_cannot_be_locked(attack: Attack, lock: str) -> None:
    code = (
        f"import fcntl, os, random\nfile = open(random.__file__)\ntry:\n    {lock}\nexcept PermissionError:\n    hold()"
    )
    free = []

    def hold() -> None:
        """Call while the lock would be held."""
        with Path(random.__file__).open() as shared:
            fcntl.flock(shared, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free.append(True)

    async with attack(code, tools=[Tool.of(hold)]) as result:
        assert free or result.early, (result.status, result.message)


async def test_the_hosts_disk_cannot_be_read_past_its_cache(attack: Attack) -> None:
    """Direct reads of the shown files would make the disk work, for hardly any CPU time of the guest's."""
    code = """
import fcntl, os
path = np.linalg._umath_linalg.__file__
def direct():
    return os.open(path, os.O_RDONLY | os.O_DIRECT)
def later():
    f = os.open(path, os.O_RDONLY)
    fcntl.fcntl(f, fcntl.F_SETFL, os.O_DIRECT)
    assert not fcntl.fcntl(f, fcntl.F_GETFL) & os.O_DIRECT
    raise OSError
for way in (direct, later):
    try:
        way()
        print('direct')
    except OSError:
        print('refused')
"""
    async with attack(code) as result:
        assert result.said("refused\nrefused\n"), (result.output, result.message)


async def test_a_later_session_finds_no_files_of_an_earlier_one(host: Host, tier: Tier) -> None:
    for _ in range(3):
        async with await host.open(policy="off", limits=LIMITS) as session:
            outcome = await session.run("import os\nprint('left' in os.listdir('.'))\nopen('left', 'w')")
            assert outcome.output == "False\n"


STUBBORN = {
    "directories in directories": "import os\nfor _ in range(1500):\n    os.mkdir('d')\n    os.chdir('d')",
    "a directory that its owner cannot list": (
        "import os\nos.mkdir('a', 0o300)\nopen('a/f', 'w').close()\nos.mkdir('b', 0o300)\nos.mkdir('b/c', 0)"
    ),
    "names of all bytes": """
        import os
        for number in set(range(1, 256)) - {47}:
            os.close(os.open(bytes([number]) * 9, os.O_CREAT | os.O_WRONLY))
    """,
    "a name as long as names may be": "open('x' * 255, 'w').close()",
    "more files than one removal lists": "for n in range(3000):\n    open(str(n), 'w').close()",
}


@each("code", STUBBORN)
async def test_what_a_session_wrote_is_gone_with_it(attack: Attack, tier: Tier, code: str) -> None:
    before = set(Path("/tmp").glob("maia-landlock-*/*"))
    async with attack(code, fresh=True) as result:
        assert result.status in ("ok", "policy"), result.message
    left = set(Path("/tmp").glob("maia-landlock-*/*")) - before
    assert not [folder for folder in left if any(folder.iterdir())]  # an empty one waits for the next session
