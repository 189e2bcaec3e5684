"""One place that turns whatever ends a command into one line on standard error and an exit code.

0    done
1    something failed that another command line would not mend
2    something to mend in the command line, the settings or the set-up; the line says what
3    some units have no finding; the table says which and why, and the line below it with which command to go on
130  interrupted or paused
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final

from typer.exceptions import TyperException

from maia.sandbox.errors import SandboxError
from maia.wire.errors import (
    InvalidRequestError,
    MaiaError,
    PermissionRefusedError,
    UnauthenticatedError,
    UnavailableError,
)

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNITS_FAILED: Final = 3
INTERRUPTED: Final = 130


QUIET_GRPC: Final = ("GRPC_VERBOSITY", "ERROR")
"""What keeps gRPC from writing of handshakes that fail, which belongs in a server's log: the command says once, in its
own words, what came of them."""


class CommandError(InvalidRequestError):
    """A flag, a file or a combination of them that cannot be."""

    default_reason = "COMMAND_INVALID"


class ServerDownError(UnavailableError):
    """No server answers where this command expects one, and the user can start it."""

    default_reason = "SERVER_DOWN"


class ServerDiedError(MaiaError):
    """A server that this command had started has ended.

    Args:
        message: Which, how, and the last lines of its log.
        mendable: It ended because of a setting that the user can change.
    """

    default_reason = "SERVER_DIED"

    def __init__(self, message: str, *, mendable: bool) -> None:
        super().__init__(message)
        self.mendable = mendable


class BuildFailedError(MaiaError):
    """A program of the exemplar store has failed.

    Args:
        message: Its own.
        mendable: Another command line or setting would mend it.
    """

    default_reason = "BUILD_FAILED"

    def __init__(self, message: str, *, mendable: bool) -> None:
        super().__init__(message)
        self.mendable = mendable


def exit_code(error: Exception) -> int:
    """Return the exit code that an error of ours stands for."""
    if isinstance(error, (InvalidRequestError, ServerDownError, UnauthenticatedError, PermissionRefusedError)):
        return USAGE
    if isinstance(error, (ServerDiedError, BuildFailedError)):
        return USAGE if error.mendable else FAILED
    if isinstance(error, TyperException):
        return error.exit_code
    return FAILED


def reporting(program: Callable[[], int]) -> int:
    """Run a command and return its exit code, having said on standard error what stopped it.

    A fault of ours that nobody planned for keeps its traceback: hiding it would only make it harder to report.
    """
    try:
        return program()
    except TyperException as error:
        # Without a message it was a group without a command, whose help has been shown.
        if error.format_message():
            _say(error.format_message(), hint=_value_of(error) + _help_of(error))
        return exit_code(error)
    except (MaiaError, SandboxError) as error:
        _say(str(error))
        return exit_code(error)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")  # as was asked for, so no error
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone. Python flushes standard output once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
        return FAILED


def _value_of(error: TyperException) -> str:
    """What the user gave, where typer had pydantic read it and says only what it should have been."""
    problems = getattr(error.__cause__, "errors", None)
    return f", not {problems()[0]['input']!r:.80}" if callable(problems) else ""


def _help_of(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see {context.command_path} --help)" if context is not None else ""


def _say(message: str, *, hint: str = "") -> None:
    sys.stderr.write(f"error: {message.rstrip()}{hint}\n")
    sys.stderr.flush()
