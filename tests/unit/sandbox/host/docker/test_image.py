"""The image: what goes into it from this machine, and under which name it is found again."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from maia.sandbox.host.tiers.docker import image
from maia.sandbox.host.tiers.docker.image import File, archive, environment, find_files, split, tag
from maia.sandbox.host.tiers.jail.elf import loader
from maia.sandbox.host.tiers.jail.plan import Plan, make_plan


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A small installation: a package, a private file, a link out of it, a test folder, a masked folder."""
    package = tmp_path / "lib" / "package"
    for folder in (package, package / "tests", tmp_path / "lib" / "site-packages"):
        folder.mkdir(parents=True)
        (folder / "module.py").write_text("x = 1\n")
    (package / "private.txt").write_text("secret")
    (package / "private.txt").chmod(0o600)
    (package / "tool").write_text("#!")
    (package / "tool").chmod(0o700)
    (tmp_path / "elsewhere.txt").write_text("through a link")
    (package / "link.txt").symlink_to(tmp_path / "elsewhere.txt")
    (package / "dangling.txt").symlink_to(tmp_path / "nowhere")
    (package / "broken.py").write_text("def (\n")
    return tmp_path


def plan_of(installed: Path) -> Plan:
    lib = str(installed / "lib")
    return Plan((lib,), (f"{lib}/site-packages",), (lib,))


def below(installed: Path) -> list[File]:
    return [file for file in find_files(plan_of(installed)) if file[0].startswith(str(installed))]


def members(files: Iterable[File], *, lowest: bool = True) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive(files, lowest=lowest)))) as tar:
        return {f"/{member.name}": member for member in tar.getmembers()}


def test_files_lie_where_they_lie_here_without_tests_and_masked_folders(installed: Path) -> None:
    names = {os.path.relpath(path, installed) for path, _ in below(installed)}
    assert names == {
        "lib/package/module.py",
        "lib/package/broken.py",
        "lib/package/private.txt",
        "lib/package/tool",
        "lib/package/link.txt",
    }


def test_everything_belongs_to_root_and_everyone_can_read_it(installed: Path) -> None:
    made = members(below(installed))
    assert {(member.uid, member.gid) for member in made.values()} == {(0, 0)}
    assert all(member.mode & 0o555 == 0o555 for member in made.values() if member.isdir())
    assert made[f"{installed}/lib/package/private.txt"].mode == 0o644
    assert made[f"{installed}/lib/package/tool"].mode == 0o755
    assert not any(member.mode & 0o6022 for name, member in made.items() if name != "/tmp")


def test_links_are_what_they_lead_to(installed: Path) -> None:
    made = members(below(installed))
    link = made[f"{installed}/lib/package/link.txt"]
    assert link.isreg()
    assert link.size == len("through a link")
    assert not any(member.issym() or member.islnk() for member in made.values())


def test_directories_come_before_what_lies_in_them_and_once(installed: Path) -> None:
    data = b"".join(archive(below(installed), lowest=True))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))
    for name in names:
        parent = str(Path(name).parent)
        assert parent == "." or names.index(parent) < names.index(name)


def test_sources_get_bytecode_if_they_can_be_compiled(installed: Path) -> None:
    made = members(below(installed))
    bytecode = [Path(name).name for name in made if name.endswith(".pyc")]
    assert bytecode == [f"module.{sys.implementation.cache_tag}.pyc"]


def test_only_the_lowest_layer_has_what_every_root_has(installed: Path) -> None:
    skeleton = {"/tmp", "/proc", "/sys", "/dev", "/etc/passwd"}
    assert members(below(installed)).keys() >= skeleton
    assert members(below(installed), lowest=False).keys().isdisjoint(skeleton - {"/tmp"})


def test_the_tag_changes_with_a_file(installed: Path) -> None:
    plan = plan_of(installed)
    before = tag(plan, below(installed))
    assert before == tag(plan, below(installed))
    (installed / "lib" / "package" / "module.py").write_text("x = 22\n")
    assert tag(plan, below(installed)) != before


def test_the_tag_does_not_change_when_something_is_imported(installed: Path) -> None:
    plan = plan_of(installed)
    before = tag(plan, below(installed))
    cache = installed / "lib" / "package" / "__pycache__"
    cache.mkdir()
    (cache / "module.cpython-311.pyc").write_bytes(b"")
    assert tag(plan, below(installed)) == before


def test_the_real_image_holds_the_interpreter_its_loader_and_the_relay(plan: Plan) -> None:
    program = os.path.realpath(sys.executable)
    names = {path for path, _ in find_files(plan)}
    assert program in names
    assert loader(Path(program)) in names
    assert any(name.endswith("maia/sandbox/guest/relay.py") for name in names)
    assert any(name.endswith("maia/sandbox/confinement/filter.py") for name in names)


def test_the_real_image_holds_nothing_of_the_host(plan: Plan) -> None:
    names = [path for path, _ in find_files(plan)]
    for part in ("maia/sandbox/host/", "maia/orchestrator/", "maia/cli/", "maia/services/", "/docker/", "/grpc/"):
        assert not [name for name in names if part in name]


def test_only_maias_own_files_are_in_the_upper_layer(plan: Plan) -> None:
    lower, upper = split(find_files(plan))
    assert upper
    assert all("/maia/" in path for path, _ in upper)
    assert not [path for path, _ in lower if path.endswith("guest/relay.py")]
    assert sum(about.st_size for _, about in upper) < 1 << 20


def test_the_interpreter_is_told_where_everything_is(plan: Plan) -> None:
    told = environment(plan)
    assert told["PYTHONPATH"].split(os.pathsep) == list(plan.sys_path)
    assert all(Path(folder).is_dir() for folder in told["LD_LIBRARY_PATH"].split(os.pathsep))
    assert image.command()[0] == os.path.realpath(sys.executable)
