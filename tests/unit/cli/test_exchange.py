"""What `maia exemplars import`, `export`, `fetch` and `show` start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maia.cli import exchange


def test_every_value_reaches_the_program_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def start(_path: str, program: list[str], _environment: object) -> None:
        started.append(program)
        raise SystemExit

    monkeypatch.setattr(os, "execve", start)
    with pytest.raises(SystemExit):
        exchange.import_(folder=tmp_path, units=0, model="-x", cache_dir=tmp_path)
    (program,) = started
    assert {"--units=0", "--model=-x"} <= set(program)
    assert not any(flag.startswith(("--layers", "--without-ids")) for flag in program)
