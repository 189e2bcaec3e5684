"""Asking again while that may help, and no longer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import structlog

from maia.orchestrator.patience import Attempts
from maia.wire.errors import DeadlineExceededError, InvalidRequestError, MaiaError, OverloadedError, UnavailableError


def failing(*errors: MaiaError) -> Callable[[], Awaitable[str]]:
    left = list(errors)

    async def attempt() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return attempt


async def test_an_outage_is_waited_for_and_told_once() -> None:
    attempts = Attempts("drawing", 30.0)
    with structlog.testing.capture_logs() as lines:
        assert await attempts.make(failing(UnavailableError("down"), OverloadedError("full", retry_after_s=0.01)))
    assert attempts.made == 3
    assert [line["log_level"] for line in lines] == ["warning", "info"]
    assert lines[0]["event"] == "drawing is tried again, for at most 30 s"
    assert lines[1]["in_s"] == 0.01  # as the server asked


@pytest.mark.parametrize("error", [InvalidRequestError("no"), DeadlineExceededError("late")])
async def test_what_asking_again_does_not_mend_is_raised_at_once(error: MaiaError) -> None:
    attempts = Attempts("drawing", 30.0)
    with pytest.raises(type(error)):
        await attempts.make(failing(error))
    assert attempts.made == 1


async def test_a_wait_that_is_longer_than_our_patience_is_not_begun() -> None:
    with pytest.raises(OverloadedError):
        await Attempts("drawing", 30.0).make(failing(OverloadedError("full", retry_after_s=31.0)))
    assert await Attempts("asking", 30.0, (DeadlineExceededError,)).make(failing(DeadlineExceededError("late")))
