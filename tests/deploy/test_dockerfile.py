"""The Dockerfile: what is in which image, and that it can be built without BuildKit and without a registry."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

from maia.sandbox.host.tiers.jail.plan import GUEST_DISTRIBUTIONS

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = (ROOT / "deploy/Dockerfile").read_text()
IMAGES: Final = ("sandbox", "orchestrator", "services")


def stages() -> dict[str, tuple[str, str]]:
    """What each stage starts from, and its instructions."""
    parts = re.split(r"^FROM (\S+) AS (\S+)\n", TEXT, flags=re.MULTILINE)[1:]
    return {parts[i + 1]: (parts[i], parts[i + 2]) for i in range(0, len(parts), 3)}


def sandbox_packages() -> set[str]:
    """What is asked for by name; pip adds what these require."""
    _, text = stages()["sandbox-packages"]
    return set(text.replace("\\\n", " ").split("./install", 1)[1].split("&&")[0].split())


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_the_base_and_what_was_installed(image: str) -> None:
    base, text = stages()[image]
    assert base == "runtime"
    assert stages()[base][0] == "${BASE_IMAGE}"
    assert "RUN" not in text
    assert "USER" not in text
    assert "USER 10001:10001" in stages()[base][1]


def test_what_pip_is_told_stays_in_the_stages_that_build() -> None:
    for name in (*IMAGES, "runtime"):
        assert "PIP_" not in stages()[name][1]


def test_all_that_is_installed_is_pinned() -> None:
    script = stages()["tools"][1]
    assert script.count("--constraint constraints.txt") == 1
    for name, (_, text) in stages().items():
        if name != "tools":
            assert not re.search(r"pip\S* install", text), name


def test_what_torch_brings_for_gpus_is_pinned_too() -> None:
    """The wheels of PyPI: those for CPUs alone, which tests use, need none of these."""
    pins = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().split()}
    assert {"torch", "triton", "cuda-bindings", "cuda-toolkit", "nvidia-cudnn-cu13", "nvidia-nvjitlink"} <= pins
    assert "setuptools" in pins


def test_the_sandbox_has_what_guests_import_and_no_vendor() -> None:
    installed = sandbox_packages()
    assert set(GUEST_DISTRIBUTIONS) <= installed
    assert not {"anthropic", "openai", "docker", "typer"} & installed
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = {re.split(r"[<>=]", line)[0].lower() for line in project["dependencies"]}
    assert {name.lower() for name in installed} <= listed | {"scipy"}


def test_the_sandbox_has_all_that_its_host_imports() -> None:
    """Each module that the wire and the host import from others, but for a container tier's and a cluster's."""
    installed = {name.lower().replace("_", "-") for name in sandbox_packages()}
    distributions = packages_distributions()
    missing = set()
    for file in (*(ROOT / "protos/maia/wire").rglob("*.py"), *(ROOT / "sandbox/maia").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in {one.partition(".")[0] for one in names}:
                owners = {one.lower().replace("_", "-") for one in distributions.get(name, ())}
                if owners and not owners & installed:
                    missing.add(name)
    # Ray and the engine's client are for hosts elsewhere; an exporter of traces is an extra.
    assert missing <= {"docker", "ray", "opentelemetry", "maia", "pydantic_core"}


def test_nothing_of_ours_but_the_host_is_in_the_sandbox() -> None:
    base, text = stages()["own-sandbox"]
    assert base == "own"
    assert "rm -r services orchestrator cli" in text
    assert "--from=own-sandbox" in stages()["sandbox"][1]


def test_no_feature_of_buildkit_is_used() -> None:
    assert "--mount" not in TEXT
    assert "<<" not in TEXT
    assert "syntax=" not in TEXT


def test_all_that_is_copied_reaches_the_engine() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", TEXT, flags=re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert any(one == source or one.startswith(f"{source}/") for one in sent), source
        assert (ROOT / source).exists()
