"""The namespace and the committed contract stay as the architecture says."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("protos", "services", "sandbox", "orchestrator")


def test_nothing_is_tracked_that_is_not_of_the_project() -> None:
    """What a killed program has left in the working tree must not be committed with it."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout, so nothing is tracked")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {name.partition("/")[0] for name in listed.split("\0") if name}
    files = {name for name in top if (ROOT / name).is_file()}
    assert top - files == {*SOURCE_ROOTS, ".ci", "docs", "examples", "tests"} | (top & {"deploy"})
    assert {name for name in files if name.startswith("tmp")} == set()


def test_no_root_turns_the_shared_namespace_into_a_package() -> None:
    assert not [str(root) for root in SOURCE_ROOTS if (ROOT / root / "maia" / "__init__.py").exists()]


@pytest.mark.parametrize("name", ["maia.cli.main", "maia.sandbox", "maia.orchestrator.agent"])
def test_importing_loads_nothing_heavy(name: str) -> None:
    code = f"import sys, {name}; print(*[m for m in ('torch', 'anthropic', 'openai', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_pinned_version_is_one_that_the_project_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    pins = {
        line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()
    }
    names = {re.split(r"[<>=\[; ]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    assert names - pins == set()


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs").rglob("*.md")) + sorted(ROOT.glob("*.md")), ids=lambda p: p.name
)
def test_links_and_paths_in_documents_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert not [link for link in links if link and not (page.parent / link).exists()]
