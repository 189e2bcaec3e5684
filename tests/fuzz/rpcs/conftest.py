"""One process for all fuzzing of RPCs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.fuzz.rpcs.process import Server, serving


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of all services."""
    with serving(tmp_path_factory.mktemp("served")) as started:
        yield started
