"""Which failures asking later may mend."""

import pytest

from maia.orchestrator.endings import may_pass, stopped_by
from maia.orchestrator.errors import DISK_FULL, BackboneError, JournalError, MissingKeyError
from maia.orchestrator.pausing import PausedError
from maia.sandbox import HostGoneError, ProtocolError, SandboxError, SessionError
from maia.wire.errors import DeadlineExceededError, InternalError, NotFoundError, OverloadedError, UnavailableError


def in_a_workbench(cause: SandboxError) -> InternalError:
    try:
        raise InternalError(f"the sandbox failed: {cause}", reason="SANDBOX_FAILED") from cause
    except InternalError as error:
        return error


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (BackboneError("busy", transient=True), "paused"),
        (BackboneError("the key is refused", transient=False, reason="BACKBONE_KEY_REFUSED"), "invalid"),
        (UnavailableError("down"), "paused"),
        (OverloadedError("full"), "paused"),
        (DeadlineExceededError("slow, or behind a link that is down"), "paused"),
        (HostGoneError("gone"), "paused"),
        (in_a_workbench(HostGoneError("gone")), "paused"),
        (in_a_workbench(ProtocolError("broken")), "invalid"),
        (SessionError("over"), "invalid"),
        (JournalError("full", reason=DISK_FULL), "paused"),
        (JournalError("damaged"), "invalid"),
        (PausedError("by the user"), "paused"),
        (NotFoundError("no such layer"), "invalid"),
        (MissingKeyError("no key"), "invalid"),
        (ValueError("a fault of ours"), "invalid"),
    ],
)
def test_a_run_is_paused_where_asking_later_may_help_and_else_invalid(error: Exception, why: str) -> None:
    assert stopped_by(error).why == why
    assert may_pass(error) is (why == "paused")


def test_an_end_carries_reason_and_message() -> None:
    stopped = stopped_by(UnavailableError("the subject server is down"))
    assert (stopped.reason, stopped.message) == ("SERVER_UNAVAILABLE", "the subject server is down")
    assert stopped_by(HostGoneError("gone")).reason == "SANDBOX_FAILED"
    assert stopped_by(ValueError("x")).message == "ValueError: x"
