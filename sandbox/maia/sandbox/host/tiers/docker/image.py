"""The container image, made from what is installed on this machine: no registry, no second copy to keep in step.

It has two layers: the interpreter with the packages, some 350 MB, and maia's own few files, which alone are made anew
when only they have changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import py_compile
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from maia.sandbox.host.tiers.jail.elf import loader
from maia.sandbox.host.tiers.jail.plan import Plan

__all__ = ["RELAY", "REPOSITORY", "File", "archive", "command", "environment", "find_files", "split", "tag"]

File = tuple[str, os.stat_result]
"""A regular file of the image: its path, the same here and inside, and what it is here."""

REPOSITORY: Final = "maia-sandbox"
"""Name of the images made here; their tag says what is in them."""

RELAY: Final = "maia.sandbox.guest.relay"
"""The module that a container runs."""

_FORMAT: Final = 1
_PASSWD: Final = b"sandbox:x:65534:65534::/tmp:/\n"
_PORTION: Final = 1 << 20
_LEFT_OUT_DIRECTORIES: Final = frozenset({"test", "tests"})
_LEFT_OUT_ENDINGS: Final = (".a", ".opt-1.pyc", ".opt-2.pyc")
"""Two thirds of what is installed, and no guest imports any of it."""


def command() -> list[str]:
    """How a container of an image made here starts."""
    return [os.path.realpath(sys.executable), "-s", "-S", "-P", "-B", "-m", RELAY]


def environment(plan: Plan) -> dict[str, str]:
    """What the interpreter needs until the relay has started; from then on a guest's environment is in force."""
    libraries = dict.fromkeys(os.path.dirname(path) for path in plan.binds if ".so" in os.path.basename(path))  # noqa: PTH119, PTH120  strings all the way
    return {
        "PYTHONPATH": os.pathsep.join(plan.sys_path),
        "PYTHONHASHSEED": "0",
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),  # there is no ld.so.cache inside
    }


def find_files(plan: Plan) -> list[File]:
    """All regular files of the image, links resolved, sorted by path."""
    program = os.path.realpath(sys.executable)
    roots = [*plan.binds, program, *filter(None, [loader(Path(program))])]
    found = {path: about for root in roots for path, about in _walk(root, plan.masks)}
    return sorted(found.items())


def split(files: Iterable[File]) -> tuple[list[File], list[File]]:
    """The files of the lower layer and of the upper one, which is what changes when maia does."""
    spec = importlib.util.find_spec("maia")
    homes = tuple(f"{home}/" for home in (spec.submodule_search_locations if spec else None) or ())
    lower, upper = [], []
    for file in files:
        if not file[0].startswith(homes):
            lower.append(file)
        elif not file[0].endswith(".pyc"):  # may be stale where sources are worked on; `archive` makes them
            upper.append(file)
    return lower, upper


def _walk(root: str, masks: Iterable[str]) -> Iterator[File]:
    if not os.path.isdir(root):  # noqa: PTH112  strings all the way
        paths = [root]
    else:
        paths = []
        for directory, below, names in os.walk(root):
            below[:] = [
                name for name in below if name not in _LEFT_OUT_DIRECTORIES and f"{directory}/{name}" not in masks
            ]
            paths += [f"{directory}/{name}" for name in names if not name.endswith(_LEFT_OUT_ENDINGS)]
    for path in paths:
        try:
            about = os.stat(path)  # noqa: PTH116  strings all the way
        except OSError:  # a link that leads nowhere
            continue
        if os.path.isfile(path):  # noqa: PTH113  strings all the way
            yield path, about


def tag(plan: Plan, files: Iterable[File]) -> str:
    """A name for exactly this content: what is installed, which files, how long and how old.

    Bytecode is left out: it follows from the rest, and more of it appears whenever something is imported.
    """
    digest = hashlib.sha256(f"{_FORMAT} {sys.version} {plan.to_json()}".encode())
    for path, about in files:
        if not path.endswith(".pyc"):
            line = f"{path}\0{about.st_size} {about.st_mtime_ns} {about.st_mode}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def archive(files: Iterable[File], *, lowest: bool) -> Iterator[bytes]:
    """A tar archive of a layer, in portions; holds one file at a time.

    Everything belongs to root and can be read by all, whatever it is here: the container's user must get at an
    interpreter that lies in a home directory. Sources without bytecode get it: a container could not keep what it
    compiles.

    Args:
        files: What is in it.
        lowest: With /tmp, /etc/passwd and where the kernel's file systems go.
    """
    sink = io.BytesIO()
    files = list(files)
    names = {path for path, _ in files}
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        layer = _Layer(tar)
        if lowest:
            layer.add_skeleton()
        for path, about in files:
            mode = 0o755 if about.st_mode & 0o111 else 0o644
            layer.add(path.lstrip("/"), Path(path).read_bytes(), mode, about.st_mtime)
            if path.endswith(".py") and importlib.util.cache_from_source(path) not in names:
                layer.add_bytecode(path)
            if sink.tell() >= _PORTION:
                yield sink.getvalue()
                sink.seek(0)
                sink.truncate()
    yield sink.getvalue()


class _Layer:
    """A tar archive that makes each directory once."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._made: set[str] = set()

    def add_skeleton(self) -> None:
        """What every root has."""
        for name, mode in (("tmp", 0o1777), ("proc", 0o555), ("sys", 0o555), ("dev", 0o755)):
            self._add_directory(name, mode)
        self.add("etc/passwd", _PASSWD, 0o644, 0)

    def add(self, name: str, content: bytes, mode: int, modified: float) -> None:
        """One file, with the directories above it."""
        for parent in reversed(Path(name).parents[:-1]):
            self._add_directory(str(parent), 0o755)
        member = tarfile.TarInfo(name)
        member.mode, member.size = mode, len(content)
        member.mtime = int(modified)  # as bytecode files remember it: whole seconds, rounded down
        self._tar.addfile(member, io.BytesIO(content))

    def add_bytecode(self, source: str) -> None:
        """What the interpreter would compile, if it can be compiled."""
        with tempfile.NamedTemporaryFile() as compiled:
            try:
                py_compile.compile(
                    source,
                    cfile=compiled.name,
                    doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
            except (py_compile.PyCompileError, OSError):  # for another version of Python, or a template
                return
            content = Path(compiled.name).read_bytes()
        self.add(importlib.util.cache_from_source(source).lstrip("/"), content, 0o644, 0)

    def _add_directory(self, name: str, mode: int) -> None:
        if name not in self._made:
            self._made.add(name)
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, mode
            self._tar.addfile(member)
