"""Exit codes of a server's program."""

from __future__ import annotations

import sys
from collections.abc import Callable

from maia.wire.errors import InvalidRequestError, MaiaError


def reporting_errors(program: Callable[[], None]) -> int:
    """Run a program; say in one line what of ours it raised, and return its exit code.

    Returns:
        0 after an order to stop, 2 for a wrong setting or name, 1 for another failure, 130 when interrupted; the
        message is one line on standard error.
    """
    try:
        program()
    except MaiaError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 2 if isinstance(error, InvalidRequestError) else 1
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
