"""What the doctor makes of what it found: who starts no server here needs less."""

from __future__ import annotations

import importlib.metadata
import io
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from maia.cli import diagnosis
from maia.cli.config import ADDRESSES, Config
from maia.cli.diagnosis import show
from maia.cli.rows import Row

NOBODY = "127.0.0.1:1"


def config(folder: Path, *named: str) -> Config:
    return Config.model_validate({"cache_dir": folder, **{f"{name}_address": NOBODY for name in named}})


async def rows_of(monkeypatch: pytest.MonkeyPatch, config: Config) -> dict[str, list[Row]]:
    """What is found, by topic, on a machine with the command line alone, a small disk, and no server anywhere."""

    def version(name: str) -> str:
        if name in ("torch", "safetensors", "scipy"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    async def nothing(*_: object) -> list[Row]:
        return []

    found: list[Row] = []
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=256 * 2**20))
    for name in ("sandbox_rows", "sandbox_host_rows", "server_rows", "hub_rows", "_accelerators"):
        monkeypatch.setattr(diagnosis, name, nothing)
    monkeypatch.setattr(diagnosis, "show", lambda _, rows, **__: found.extend(rows))
    await diagnosis.diagnose(config)
    return {topic: [row for row in found if row.topic == topic] for topic in ("packages", "folders")}


async def test_what_the_demo_needs_is_wrong_where_servers_may_be_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = await rows_of(monkeypatch, config(tmp_path, *list(ADDRESSES)[1:]))
    assert [row.mark for row in found["packages"]] == ["good", "bad", "bad", "bad"]
    assert found["folders"][0].mark == "bad"


async def test_what_the_demo_needs_is_a_note_where_every_server_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = await rows_of(monkeypatch, config(tmp_path, *ADDRESSES))
    assert [row.mark for row in found["packages"]] == ["good", "note", "note", "note"]
    assert found["folders"][0].mark == "note"


@pytest.mark.parametrize(
    ("mark", "elsewhere", "verdict"),
    [
        ("good", True, "What the settings name can be used."),
        ("bad", True, "1 of these must be mended."),
        ("good", False, "maia demo can run here."),
        ("bad", False, "maia demo cannot run here: 1 of these must be mended."),
    ],
)
def test_the_verdict(mark: str, elsewhere: bool, verdict: str) -> None:
    console = Console(file=io.StringIO(), width=120)
    show(console, [Row("keys", "bad" if mark == "bad" else "good", "…")], elsewhere=elsewhere)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines()[-1] == verdict
