"""What tests of the interchange share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.services.interchange.shelf import Shelf, shelf


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """A server on loopback, which no proxy of the environment stands before."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with shelf() as opened:
        yield opened
