# ruff: noqa: ASYNC240  files are looked at between attacks, when nothing else runs
"""Attacks on files: the host's, the jail's own, another session's."""

from __future__ import annotations

import fcntl
import os
import random
import resource
import shutil
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maia.sandbox import Host, Tool

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.txt"
    file.write_text("sesame")
    file.chmod(0o644)
    for parent in (tmp_path, tmp_path.parent):
        parent.chmod(0o755)
    return file


READERS = {
    "open": "print(open({path!r}).read())",
    "numpy": "print(np.fromfile({path!r}, dtype='u1').tobytes())",
    "numpy text": "print(np.loadtxt({path!r}, dtype=str))",
    "memmap": "print(bytes(np.memmap({path!r}, mode='r')))",
    "traversal": "print(open('/tmp' + '/..' * 30 + {path!r}).read())",
    "os.open": "import os\nprint(os.read(os.open({path!r}, os.O_RDONLY), 99))",
    "linecache": "import linecache\nprint(linecache.getlines({path!r}))",
    "ctypes": "import ctypes\nf = ctypes.CDLL(None).open({path!r}.encode(), 0)\nb = ctypes.create_string_buffer(99)\n"
    "ctypes.CDLL(None).read(f, b, 99)\nprint(b.value)",
}


@pytest.mark.parametrize("how", READERS)
async def test_a_file_of_the_host_cannot_be_read(attack: Any, secret: Path, how: str) -> None:
    async with attack(READERS[how].format(path=str(secret))) as result:
        assert "sesame" not in result.output
        assert result.outcome is None or "sesame" not in result.outcome.message


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/etc/hosts", "/root/.bashrc", "/proc/1/environ", "/sys/kernel", "/home"]
)
async def test_well_known_places_of_the_host_are_not_there(attack: Any, path: str) -> None:
    code = f"import os\ntry:\n    os.stat({path!r})\n    print('found')\nexcept FileNotFoundError:\n    print('absent')"
    async with attack(code) as result:
        assert "found" not in result.output


WRITERS = {
    "open": "open({path!r}, 'w').write('x')",
    "numpy": "np.save({path!r}, np.zeros(3))",
    "tofile": "np.zeros(3).tofile({path!r})",
    "pillow": "Image.new('L', (1, 1)).save({path!r}, 'PNG')",
    "figure": "import matplotlib.pyplot as plt\nplt.figure().savefig({path!r}, format='png')",
    "makedirs": "import os\nos.makedirs({path!r})",
    "rename": "import os\nopen('/tmp/a', 'w').close()\nos.rename('/tmp/a', {path!r})",
    "link": "import os\nopen('/tmp/a', 'w').close()\nos.link('/tmp/a', {path!r})",
    "symlink": "import os\nos.symlink('/etc', {path!r})",
}


@pytest.mark.parametrize("how", WRITERS)
async def test_nothing_can_be_planted_on_the_host(attack: Any, tmp_path: Path, how: str) -> None:
    planted = tmp_path / "planted.png"
    async with attack(WRITERS[how].format(path=str(planted))):
        assert not planted.exists()
    assert not planted.is_symlink()


@pytest.mark.parametrize(
    "change", ["open(path, 'a').write('#')", "import os\nos.unlink(path)", "import os\nos.truncate(path, 0)"]
)
@pytest.mark.parametrize("module", ["numpy", "json"])
async def test_code_that_guests_share_with_the_host_cannot_be_changed(attack: Any, module: str, change: str) -> None:
    home = np.__file__ if module == "numpy" else f"{sysconfig.get_path('stdlib')}/json/__init__.py"
    before = Path(home).read_bytes()
    async with attack(f"path = {home!r}\n{change}") as result:
        assert result.status != "ok"
    assert Path(home).read_bytes() == before


async def test_tmp_is_the_sessions_own(attack: Any, empty_tmp: list[str]) -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp", prefix="of-the-host-") as file:
        async with attack(
            "import os\nprint(sorted(os.listdir('/tmp')))\nopen('/tmp/of-the-guest', 'w').close()"
        ) as result:
            assert Path(file.name).name not in result.output
            assert result.output in ("", f"{empty_tmp}\n")
        assert not Path("/tmp/of-the-guest").exists()


async def test_the_root_holds_nothing_but_what_python_needs(attack: Any) -> None:
    code = (
        "import os\nfound = [path for path in ('/usr/bin', '/bin', '/sbin', '/var', '/home') if os.path.exists(path)]\n"
        "print(sorted(os.listdir('/dev')), os.listdir('/etc'), found)"
    )
    async with attack(code) as result:
        assert result.output in ("", "['null', 'random', 'urandom', 'zero'] ['passwd'] []\n")


@pytest.mark.parametrize("place", ["/", "/tmp/../", "/dev", "/etc", str(Path(np.__file__).parent)])
async def test_nothing_outside_tmp_is_writable(attack: Any, place: str) -> None:
    async with attack(f"open({place!r} + '/planted', 'w')") as result:
        assert result.status in ("exception", "policy")
    assert not Path(place, "planted").exists()


async def test_a_library_written_to_tmp_cannot_be_loaded(attack: Any) -> None:
    library = Path(np.linalg._umath_linalg.__file__)
    code = (
        f"import ctypes\nopen('/tmp/a.so', 'wb').write(open({str(library)!r}, 'rb').read())\n"
        "ctypes.CDLL('/tmp/a.so')\nprint('loaded')"
    )
    async with attack(code) as result:
        assert "loaded" not in result.output
        assert result.status == "policy" or "failed to map segment" in result.outcome.message


async def test_a_device_node_cannot_be_made(attack: Any) -> None:
    async with attack("import os\nos.mknod('/tmp/disk', 0o60666, os.makedev(254, 0))\nprint('made')") as result:
        assert "made" not in result.output


@pytest.mark.parametrize(
    "bomb",
    [
        "f = open('/tmp/a', 'wb')\nwhile True:\n    f.write(b'x' * 65536)",
        "for i in range(10**6):\n    open(f'/tmp/{i}', 'wb').write(b'x' * 1024)",
        "for i in range(10**6):\n    open(f'/tmp/{i}', 'w').close()",
        "import os\nfor i in range(10**6):\n    os.mkdir(f'/tmp/{i}')",
    ],
)
async def test_filling_the_disk_stops_at_the_sessions_share(attack: Any, bomb: str) -> None:
    free = shutil.disk_usage("/tmp").free
    async with attack(bomb) as result:
        assert result.status in ("exception", "policy")
        assert free - shutil.disk_usage("/tmp").free < 64 << 20


async def test_descriptors_are_limited_and_none_is_inherited(attack: Any) -> None:
    code = (
        "import os, stat\nopen_now = []\nfor fd in range(5000):\n    try:\n        mode = os.fstat(fd).st_mode\n"
        "        open_now.append((fd, stat.S_IFMT(mode)))\n    except OSError:\n        pass\n"
        "print([fd for fd, _ in open_now], oct(open_now[-1][1]))\n"
        "files = []\nwhile True:\n    files.append(open('/dev/null'))\n"
    )
    async with attack(code) as result:
        assert result.output in ("", "[0, 1, 2, 1000] 0o140000\n")
        assert result.status in ("exception", "policy")


async def test_a_file_that_guests_share_with_the_host_cannot_be_locked(attack: Any) -> None:
    code = (
        "import fcntl, os, random\nfile = open(random.__file__)\nfor lock in (fcntl.flock, fcntl.lockf):\n"
        "    try:\n        lock(file, fcntl.LOCK_SH)\n    except PermissionError:\n        print('refused')\nhold()"
    )
    free = []

    def hold() -> None:
        """Call while the lock would be held."""
        with Path(random.__file__).open() as shared:
            fcntl.flock(shared, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free.append(True)

    async with attack(code, tools=[Tool.of(hold)]) as result:
        assert result.output == "refused\n" * 2 or result.status == "policy"
        assert free or result.status == "policy"


async def test_a_host_with_many_open_files_leaves_none_to_its_guests(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    held: list[int] = []
    try:
        while not held or held[-1] < 1100:
            held.append(os.dup(0))
        async with Host(cache_dir=tmp_path) as crowded, await crowded.open(policy="off") as session:
            found = (
                "import os\nfound = []\nfor i in range(5000):\n    try:\n        os.fstat(i)\n        found.append(i)\n"
                "    except OSError:\n        pass\nprint(found)"
            )
            outcome = await session.run(found)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert outcome.output == "[0, 1, 2, 1000]\n"
