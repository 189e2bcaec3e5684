"""Everything that crosses the wire comes out as it went in."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox import Feature, Limits, Outcome, ProtocolError, State, Status, Usage
from maia.sandbox.remote.messages import (
    MAX_OUTPUT_BYTES,
    feature_messages,
    features_of,
    limits_message,
    limits_of,
    outcome_message,
    outcome_of,
)

SECONDS = st.floats(min_value=0, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.builds(
        Outcome,
        status=st.sampled_from(Status),
        message=TEXT,
        output=TEXT,
        state=st.sampled_from(State),
        usage=st.builds(
            Usage,
            wall_s=SECONDS,
            cpu_s=SECONDS,
            tool_s=SECONDS,
            peak_memory_bytes=st.integers(0, 2**63),
            tool_calls=st.integers(0, 2**31),
            output_bytes=st.integers(0, 2**63),
        ),
    )
)
def test_outcomes(outcome: Outcome) -> None:
    message = pb.Outcome.FromString(outcome_message(outcome).SerializeToString())
    assert outcome_of(message) == outcome


def test_an_outcome_of_a_kind_that_nobody_knows() -> None:
    with pytest.raises(ProtocolError, match="status 0 and state 0"):
        outcome_of(pb.Outcome())


def test_limits_all_of_them() -> None:
    other = {
        field.name: getattr(Limits(), field.name) + (0.5 if isinstance(getattr(Limits(), field.name), float) else 3)
        for field in fields(Limits)
    }
    limits = Limits(**other)
    assert limits_of(pb.Limits.FromString(limits_message(limits).SerializeToString())) == limits


def test_limits_that_are_not_set_have_their_defaults_and_zero_is_set() -> None:
    assert limits_of(pb.Limits()) == Limits()
    assert limits_of(pb.Limits(tool_calls=0, wall_s=3)) == Limits(tool_calls=0, wall_s=3)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (pb.Limits(memory_mb=1), "memory_mb is 1"),
        (pb.Limits(wall_s=float("nan")), "wall_s is nan"),
        (pb.Limits(output_bytes=MAX_OUTPUT_BYTES + 1), "output_bytes is 16,777,217"),
    ],
)
def test_limits_that_cannot_be(message: pb.Limits, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        limits_of(message)


def test_features() -> None:
    features = (Feature("seccomp", enforced=True, detail="much"), Feature("landlock", enforced=False, detail=""))
    assert features_of(feature_messages(features)) == features
