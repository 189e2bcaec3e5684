"""Planning a root: what is in it, what is not, and what the cache believes."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from maia.sandbox.host.tiers.jail.elf import needed
from maia.sandbox.host.tiers.jail.plan import Plan, make_plan, user_cache_dir


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(tmp_path_factory.mktemp("cache"))


def test_of_maia_only_the_guests_half_is_shown(plan: Plan) -> None:
    roots = [Path(root) for root in import_module("maia").__path__]
    binds = [Path(path) for path in plan.binds]
    shown = [str(path.relative_to(root)) for path in binds for root in roots if path.is_relative_to(root)]
    guests = ["confinement", "errors.py", "guest", "protocol"]
    assert sorted(shown) == ["execution/v1", *(f"sandbox/{name}" for name in guests)]


def test_packages_and_libraries_exist_and_nothing_is_shown_twice(plan: Plan) -> None:
    for path in plan.binds:
        assert Path(path).exists()
        inside = [other for other in plan.binds if path.startswith(f"{other}/")]
        assert not inside or any(path.startswith(f"{mask}/") for mask in plan.masks), path
    for wanted in ("/numpy", "/PIL", "/scipy", "/matplotlib", "/RestrictedPython", "/google/protobuf"):
        assert any(path.endswith(wanted) for path in plan.binds), wanted
    for unwanted in ("/grpc", "/anthropic", "/torch", "/pip", "/google", "/site-packages"):
        assert not any(path.endswith(unwanted) for path in plan.binds), unwanted


def test_every_library_that_ldd_names_for_the_interpreter_is_shown(plan: Plan) -> None:
    answer = subprocess.run(["ldd", Path(sys.executable).resolve()], capture_output=True, text=True, check=True)
    libraries = [line.split(" => ")[1].split(" (")[0] for line in answer.stdout.splitlines() if " => /" in line]
    assert libraries
    assert set(libraries) <= set(plan.binds)


def test_needed_reads_what_the_loader_reads() -> None:
    assert any(name.startswith("libc.so") for name in needed(Path("/bin/sh").resolve()))
    assert needed(Path(__file__)) == []


def test_the_cache_is_used_when_true_and_ours_and_not_otherwise(tmp_path: Path, plan: Plan) -> None:
    assert make_plan(tmp_path) == plan
    (file,) = tmp_path.iterdir()
    shorter = Plan(plan.binds[:3], (), ())
    file.write_text(shorter.to_json())
    assert make_plan(tmp_path) == shorter
    for broken in ("", "{", "[]", "{}", json.dumps({"binds": ["/nowhere"], "masks": [], "sys_path": []})):
        file.write_text(broken)
        assert make_plan(tmp_path) == plan
    file.write_text(shorter.to_json())
    file.chmod(0o666)
    assert make_plan(tmp_path) == plan
    assert len(list(tmp_path.iterdir())) == 1


def test_the_users_cache_follows_the_xdg_specification() -> None:
    assert user_cache_dir({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/maia")
    assert user_cache_dir({"HOME": "/h"}) == Path("/h/.cache/maia")


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, plan: Plan) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert make_plan(blocked / "maia") == plan
