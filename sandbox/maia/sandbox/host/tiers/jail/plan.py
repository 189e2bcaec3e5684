"""What a jail's root holds: which directories and libraries of this machine, found once and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maia.sandbox.host.tiers.jail.elf import needed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["GUEST_DISTRIBUTIONS", "Plan", "make_plan", "user_cache_dir"]

GUEST_DISTRIBUTIONS: Final = ("numpy", "pillow", "matplotlib", "scipy", "RestrictedPython", "protobuf")
"""What guests import, each with all that it requires."""

_FORMAT: Final = 2
_SHARED_NAMESPACES: Final = frozenset({"google"})  # several distributions put packages in there; guests need one
_LIBRARY: Final = re.compile(r"=> (/.+) \(0x")


@dataclass(frozen=True, slots=True)
class Plan:
    """Paths of a jail's root, the same inside as outside.

    Attributes:
        binds: Directories and files to show, read-only; none lies inside another, except inside a masked one.
        masks: Directories within `binds` to cover with an empty one.
        sys_path: Where guests import from.
    """

    binds: tuple[str, ...]
    masks: tuple[str, ...]
    sys_path: tuple[str, ...]

    def to_json(self) -> str:
        """One line, for the launcher and the cache."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The opposite of `to_json`."""
        fields = json.loads(text)
        return cls(tuple(fields["binds"]), tuple(fields["masks"]), tuple(fields["sys_path"]))


def user_cache_dir(environ: Mapping[str, str]) -> Path:
    """Where this user's caches belong, by the XDG base directory specification."""
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or tempfile.gettempdir()) / ".cache")
    return Path(base) / "maia"


def make_plan(cache_dir: Path | None) -> Plan:
    """Find what the root needs. Asking the loader takes a good part of a second, hence the cache.

    Args:
        cache_dir: Where to remember the answer, by interpreter and package versions; None asks anew.

    Raises:
        FileNotFoundError: A package that guests need is not installed, or there is no `ldd`.
    """
    distributions = sorted(_closure(GUEST_DISTRIBUTIONS), key=lambda found: found.name)
    if cache_dir is None:
        return _compute(distributions)
    key = json.dumps(
        [_FORMAT, sys.executable, sys.version, str(_maia_parts()), [(d.name, d.version) for d in distributions]]
    )
    file = cache_dir / f"jail-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    plan = _read(file)
    if plan is None:
        plan = _compute(distributions)
        with contextlib.suppress(OSError):  # a home that cannot be written costs time at every start, no more
            _write(file, plan)
    return plan


def _read(file: Path) -> Plan | None:
    """A remembered plan, if it is ours, whole and still true."""
    try:
        with file.open() as opened:
            about = os.fstat(opened.fileno())
            if about.st_uid != os.geteuid() or about.st_mode & 0o022:
                return None
            plan = Plan.from_json(opened.read())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return plan if all(map(os.path.exists, plan.binds)) else None


def _write(file: Path, plan: Plan) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(plan.to_json())
    Path(temporary).replace(file)


def _closure(names: Iterable[str]) -> Iterator[metadata.Distribution]:
    """The named distributions and, without extras, all that they require."""
    seen: set[str] = set()
    pending = [(name, True) for name in names]
    while pending:
        name, needed = pending.pop()
        normal = re.sub(r"[-_.]+", "-", name).lower()
        if normal in seen:
            continue
        seen.add(normal)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            if needed:
                raise FileNotFoundError(f"the package {name}, which guests import, is not installed") from error
            continue  # required on other platforms or versions only
        yield found
        for requirement in found.requires or ():
            if "extra ==" not in requirement:
                match = re.match(r"[\w.-]+", requirement)
                pending.append((match[0] if match else requirement, False))


def _compute(distributions: Iterable[metadata.Distribution]) -> Plan:
    stdlib = os.path.realpath(sysconfig.get_path("stdlib"))
    packages: set[str] = set()
    path: dict[str, None] = {stdlib: None, f"{stdlib}/lib-dynload": None}
    for distribution in distributions:
        for entry in _entries(distribution):
            packages.add(entry)
        path[str(distribution.locate_file(""))] = None
    for root, entries in _maia_parts():
        packages.update(entries)
        path[root] = None
    masks = [str(p) for name in ("site-packages", "dist-packages") if (p := Path(stdlib, name)).is_dir()]
    shown = {stdlib, *packages}
    libraries = {library for library in _libraries(shown) if not _inside(library, shown)}
    return Plan(tuple(sorted(shown | libraries)), tuple(masks), tuple(path))


def _entries(distribution: metadata.Distribution) -> set[str]:
    """A distribution's top-level packages, modules and bundled libraries, as absolute paths."""
    root = Path(str(distribution.locate_file("")))
    entries = set()
    for file in distribution.files or ():
        parts = file.parts
        if parts[0] in ("..", "__pycache__") or parts[0].endswith((".dist-info", ".pth")):
            continue
        depth = 2 if parts[0] in _SHARED_NAMESPACES else 1
        entries.add(str(root.joinpath(*parts[:depth])))
    return {entry for entry in entries if os.path.exists(entry)}  # noqa: PTH110  strings all the way here


def _maia_parts() -> list[tuple[str, list[str]]]:
    """What guests need of maia, by source root: the protocol, the guest, the messages, and no more."""
    parts = []
    for package, names in (
        ("maia.sandbox", ["errors.py", "protocol", "confinement", "guest"]),
        ("maia.execution", ["v1"]),
    ):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"the package {package} is not installed")
        home = Path(next(iter(spec.submodule_search_locations)))
        parts.append((str(home.parent.parent), [str(home / name) for name in names]))
    return parts


def _inside(file: str, directories: Iterable[str]) -> bool:
    return any(file.startswith(f"{directory}/") for directory in directories)


def _libraries(shown: Iterable[str]) -> set[str]:
    """Shared libraries that the interpreter and the extension modules load from elsewhere.

    Asking the loader takes about 10 ms an object and there are hundreds, so it is asked about one object for each name
    that the objects need and do not bring.
    """
    objects = [os.path.realpath(sys.executable)]
    for directory in shown:
        objects += [str(file) for file in _objects(Path(directory))]
    brought = {os.path.basename(name) for name in objects}  # noqa: PTH119  strings all the way here
    asked: dict[str, str] = {}
    for name in objects:
        for library in needed(Path(name)):
            if library not in brought:
                asked.setdefault(library, name)
    answer = subprocess.run(  # noqa: S603  fixed program, paths of installed packages
        ["ldd", *sorted({objects[0], *asked.values()})],  # noqa: S607  wherever the distribution keeps it
        check=False,  # it fails for a static object, which needs nothing
        capture_output=True,
        text=True,
    )
    return {os.path.normpath(library) for library in _LIBRARY.findall(answer.stdout)}


def _objects(directory: Path) -> Iterator[Path]:
    for file in directory.rglob("*.so*"):
        if file.is_file() and not {"site-packages", "dist-packages"} & set(file.relative_to(directory).parts):
            yield file
