"""What stands in a log, and what must not."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import sys, structlog
from maia.wire.logs import configure_logs
configure_logs(log_format=sys.argv[1])
def answer(authorization):
    token = authorization.removeprefix("Bearer ")
    raise ValueError(len(token))
try:
    answer("Bearer " + "".join(["maia", "_", "secret"]))
except ValueError:
    structlog.stdlib.get_logger("maia.x").exception("unplanned error")
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_stack_shows_where_and_not_the_values_of_variables(log_format: str) -> None:
    ran = subprocess.run([sys.executable, "-c", _PROGRAM, log_format], capture_output=True, text=True, check=True)
    assert "unplanned error" in ran.stderr
    assert "ValueError" in ran.stderr
    assert "answer" in ran.stderr
    assert "maia_secret" not in ran.stderr


_GARBLED = """
import logging, sys
from maia.wire.logs import configure_logs
configure_logs(log_format=sys.argv[1])
header = b"Bearer maia_secret\\xe9"
try:
    header.decode()
except UnicodeDecodeError:
    logging.getLogger("grpc._cython.cygrpc").exception("Invalid encoding on %s", header)
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_what_grpc_says_of_a_garbled_header_does_not_show_it(log_format: str) -> None:
    ran = subprocess.run([sys.executable, "-c", _GARBLED, log_format], capture_output=True, text=True, check=True)
    assert "a header that is no UTF-8" in ran.stderr
    assert "maia_secret" not in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
