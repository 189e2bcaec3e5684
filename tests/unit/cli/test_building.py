from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.services.exemplars.sets import manifest, write

from maia.cli.building import list_sets
from maia.cli.config import load_config
from maia.cli.servers import exemplar_store
from maia.services.exemplars.store import ExemplarStore


def test_what_is_stored_is_listed_as_it_is_called_beside_what_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config({"cache_dir": tmp_path})
    store = ExemplarStore(exemplar_store(config))
    list_sets(config)
    assert capsys.readouterr().out == f"no exemplars in {exemplar_store(config)}\n"
    for changed in ({"dataset": "[red]pictures"}, {"subject": "damaged"}):
        write(store, manifest().model_copy(update=changed))
    damaged = store.folder_of(manifest(subject="damaged")) / "manifest.json"
    damaged.write_text("{")
    list_sets(config)
    shown = capsys.readouterr()
    assert "│ model   │ r1       │ [red]pictures │ 3        │ 2   │ layer.1 (2) │" in shown.out
    assert shown.err.startswith(f"not shown: {damaged} is damaged or missing")
