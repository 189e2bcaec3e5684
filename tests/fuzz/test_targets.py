"""The fuzz targets in every run of the tests: their corpus, and what hypothesis makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.seeds import CORPUS, SEEDS
from tests.fuzz.targets import TARGETS

INPUTS = sorted(file for file in CORPUS.rglob("*") if file.is_file())
INTERESTING = st.sampled_from([b"\x00", b"\xff", b"\x80", b"\x7f", b"\x1a\x00", b"\xff" * 9 + b"\x01", b"\x0a\x0a"])


@pytest.mark.parametrize("file", INPUTS, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_every_input_of_the_corpus_keeps_the_promises(file: Path) -> None:
    TARGETS[file.parent.name](file.read_bytes())


def test_the_corpus_holds_every_seed() -> None:
    missing = [
        f"{target}/{name}"
        for target, seeds in SEEDS.items()
        for name, data in seeds.items()
        if not (file := CORPUS / target / name).exists() or file.read_bytes() != data
    ]
    assert not missing, "run `python -m tests.fuzz.seeds`"


@pytest.mark.parametrize("target", TARGETS)
@given(st.binary(max_size=300))
def test_any_bytes_keep_the_promises(target: str, data: bytes) -> None:
    TARGETS[target](data)


@st.composite
def damaged(draw: st.DrawFn, target: str) -> bytes:
    """An input of the corpus, changed in a few places: overwritten, lengthened, cut, or spliced with another."""
    inputs = [file.read_bytes() for file in INPUTS if file.parent.name == target]
    data = draw(st.sampled_from(inputs))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        piece = draw(INTERESTING | st.binary(min_size=1, max_size=4) | st.sampled_from(inputs))
        kept = draw(st.sampled_from([at, at + len(piece), len(data)]))
        data = data[:at] + piece + data[kept:]
    return data


@pytest.mark.parametrize("target", TARGETS)
@given(st.data())
def test_damaged_inputs_of_the_corpus_keep_the_promises(target: str, data: st.DataObject) -> None:
    TARGETS[target](data.draw(damaged(target)))
