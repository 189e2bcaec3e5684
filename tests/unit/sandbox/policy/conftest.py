"""One session of blocks, run as the guest runs them, with the printed text as the result."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout

import pytest

from maia.sandbox.guest.policy import DEFAULT_IMPORTS, compile_block, make_namespace

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def _main_module() -> Iterator[None]:
    """Put back what a session replaces in this process."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def run() -> Run:
    """Run blocks one after another in a new session and return what they print."""

    def run_blocks(*blocks: str, restricted: bool = True, **extra: object) -> str:
        namespace = make_namespace(extra, restricted=restricted, allowed_imports=DEFAULT_IMPORTS)
        printed = io.StringIO()
        with redirect_stdout(printed):
            for number, source in enumerate(blocks, 1):
                exec(compile_block(source, f"<block {number}>", restricted=restricted), namespace)
        return printed.getvalue()

    return run_blocks


@pytest.fixture
def compare(run: Run) -> Callable[[str], None]:
    """Assert that a block prints the same with the policy on and off."""

    def compare_block(source: str) -> None:
        expected = run(source, restricted=False)
        assert expected, "a block that prints nothing compares nothing"
        assert run(source) == expected

    return compare_block
