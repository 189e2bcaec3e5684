"""Words for how a block ended."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ProtocolError
from maia.sandbox.limits import State, Status

if TYPE_CHECKING:
    from maia.sandbox.limits import Limits

__all__ = ["describe_end"]

_GUEST_WORDS = {
    pb.STATUS_OK: Status.OK,
    pb.STATUS_EXCEPTION: Status.EXCEPTION,
    pb.STATUS_POLICY: Status.POLICY,
    pb.STATUS_MEMORY: Status.MEMORY,
}
_WHAT_IS_LEFT = {
    State.KEPT: "",
    State.RESTORED: "the variables are those from before this block.",
    State.LOST: "all variables are lost.",
}


def describe_end(
    reason: Status | None, said: pb.Status.ValueType, text: str, *, state: State, exit_code: int | None, limits: Limits
) -> tuple[Status, str]:
    """Status and message of a block.

    Args:
        reason: Why the host stopped it, if it did; this outweighs what the guest says.
        said: The guest's word for its end, if it lived to say one.
        text: The guest's text: a traceback as a rule.
        state: What is left of the variables; anything but KEPT means that the process ended.
        exit_code: How, as `Exit.code`.
        limits: What it was held to.

    Raises:
        ProtocolError: The guest said something that it cannot know or that means nothing.
    """
    died = state is not State.KEPT
    if reason is not None:
        killed = f"The block did not stop when asked and was killed; {_WHAT_IS_LEFT[state]}"
        parts = [_limit_text(reason, limits), killed if died else "", text if said != pb.STATUS_OK else ""]
        return reason, "\n".join(part for part in parts if part)
    if died:
        status, what = _death(exit_code)
        return status, f"{what}; {_WHAT_IS_LEFT[state]}"
    if said not in _GUEST_WORDS:
        raise ProtocolError(f"a block that ended with status {said}, which only a host may say")
    status = _GUEST_WORDS[said]
    if status is Status.MEMORY:
        text = f"{_limit_text(status, limits)}\n{text}"
    return status, "" if status is Status.OK else text


def _limit_text(reason: Status, limits: Limits) -> str:
    texts = {
        Status.WALL_CLOCK: f"The block ran longer than {limits.wall_s:g} s (tool calls not counted) and was stopped. "
        "Do less in one block.",
        Status.CPU: f"The block used more than {limits.cpu_s:g} s of CPU time and was stopped. Do less in one block.",
        Status.MEMORY: f"The block needed more than {limits.memory_mb} MB of memory. "
        "Work on smaller pieces, and delete what is no longer needed.",
        Status.OUTPUT: f"The block printed more than {limits.output_bytes:,} bytes; the rest was cut. Print a summary.",
        Status.INTERRUPTED: "The block was interrupted from outside.",
    }
    return texts[reason]


def _death(exit_code: int | None) -> tuple[Status, str]:
    """The process ended, and not by our hand."""
    if exit_code is None:
        return Status.KILLED, "The session's process ended"
    if exit_code == -signal.SIGSYS:
        return Status.KILLED, "The block made a system call that is forbidden here and was killed"
    if exit_code == -signal.SIGKILL:
        return Status.MEMORY, "The kernel killed the session's process, most likely for want of memory"
    if exit_code < 0:
        return Status.KILLED, f"The session's process crashed ({signal.Signals(-exit_code).name})"
    return Status.KILLED, f"The block ended the session's process (exit status {exit_code})"
