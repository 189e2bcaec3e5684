"""Limits, outcomes and features ↔ their messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Final

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ProtocolError
from maia.sandbox.host.tiers.tier import Feature
from maia.sandbox.limits import Limits, Outcome, State, Status, Usage

MAX_OUTPUT_BYTES: Final = 16 * 1024 * 1024
"""Largest `Limits.output_bytes` of a remote session: an outcome is one message, and what is no UTF-8 takes three times
as many bytes there."""

_STATUS: Final = {status: pb.Status.Value(f"STATUS_{status.name}") for status in Status}
_STATE: Final = {state: pb.State.Value(f"STATE_{state.name}") for state in State}
_STATUS_OF: Final = {number: status for status, number in _STATUS.items()}
_STATE_OF: Final = {number: state for state, number in _STATE.items()}


def check_remote_limits(limits: Limits) -> None:
    """Refuse limits whose outcomes would not fit a message.

    Raises:
        ValueError: The message names the limit.
    """
    if limits.output_bytes > MAX_OUTPUT_BYTES:
        raise ValueError(
            f"limit output_bytes is {limits.output_bytes:,}; for a remote session it must be at most "
            f"{MAX_OUTPUT_BYTES:,}"
        )


def limits_message(limits: Limits) -> pb.Limits:
    """Return limits as a message, all of them set."""
    return pb.Limits(**{field.name: getattr(limits, field.name) for field in fields(limits)})


def limits_of(message: pb.Limits) -> Limits:
    """Return the limits of a message; what is not set has its default.

    Raises:
        ValueError: One below what a guest needs, or too large for a remote session.
    """
    limits = Limits(**{field.name: value for field, value in message.ListFields()})
    check_remote_limits(limits)
    return limits


def outcome_message(outcome: Outcome) -> pb.Outcome:
    """Return an outcome as a message."""
    usage = pb.Usage(**{field.name: getattr(outcome.usage, field.name) for field in fields(outcome.usage)})
    return pb.Outcome(
        status=_STATUS[outcome.status],
        message=outcome.message,
        output=outcome.output,
        state=_STATE[outcome.state],
        usage=usage,
    )


def outcome_of(message: pb.Outcome) -> Outcome:
    """Return the outcome of a message.

    Raises:
        ProtocolError: A status or state that nobody knows.
    """
    if message.status not in _STATUS_OF or message.state not in _STATE_OF:
        raise ProtocolError(f"an outcome of status {message.status} and state {message.state}")
    usage = Usage(**{field.name: getattr(message.usage, field.name) for field in fields(Usage)})
    return Outcome(
        status=_STATUS_OF[message.status],
        message=message.message,
        output=message.output,
        state=_STATE_OF[message.state],
        usage=usage,
    )


def feature_messages(features: Iterable[Feature]) -> list[pb.Feature]:
    """Return features as messages."""
    return [pb.Feature(name=each.name, enforced=each.enforced, detail=each.detail) for each in features]


def features_of(messages: Iterable[pb.Feature]) -> tuple[Feature, ...]:
    """Return the features of messages."""
    return tuple(Feature(each.name, each.enforced, each.detail) for each in messages)
