"""What ends a command, as one line and an exit code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from maia.cli.errors import CommandError, ServerDiedError, ServerDownError, reporting
from maia.orchestrator.errors import BackboneError, JournalError, MissingKeyError, UnknownAgentError
from maia.sandbox import TierUnavailableError
from maia.wire.errors import InternalError, NotFoundError, OutOfRangeError, UnavailableError


def raising(error: BaseException) -> Callable[[], int]:
    def program() -> int:
        raise error

    return program


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandError("x"), 2),
        (NotFoundError("x"), 2),
        (OutOfRangeError("x"), 2),
        (UnknownAgentError("x"), 2),
        (MissingKeyError("x"), 2),
        (ServerDownError("x"), 2),
        (ServerDiedError("x", mendable=True), 2),
        (ServerDiedError("x", mendable=False), 1),
        (UnavailableError("x"), 1),
        (InternalError("x"), 1),
        (JournalError("x"), 1),
        (BackboneError("x", transient=True), 1),
        (TierUnavailableError("x", 1, "x", "x"), 1),
        (PermissionError(13, "Permission denied", "/x"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_every_end_has_one_line_and_a_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert reporting(raising(error)) == code
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1


def test_an_interruption_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert reporting(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        reporting(raising(ZeroDivisionError()))


def test_a_code_passes_through() -> None:
    assert reporting(lambda: 3) == 3
