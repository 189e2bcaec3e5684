"""Requests to open a session that cannot be."""

from __future__ import annotations

import pytest

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox import Limits, ProtocolError
from maia.sandbox.remote.opening import Opening


def tool(name: str, signature: str = "()") -> pb.ToolSpec:
    return pb.ToolSpec(name=name, signature=signature)


def test_the_guest_is_told_everything_but_its_limits() -> None:
    asked = pb.OpenSession(
        tools=[tool("tools.a", "(x: int = 3) -> str")],
        constants={"system.layer": pb.Value(text="layer4")},
        limits=pb.Limits(wall_s=5),
        seed=2**64 - 1,
    )
    opening = Opening.of(asked)
    assert opening.limits == Limits(wall_s=5)
    assert opening.names == ("tools.a",)
    assert not opening.request.HasField("limits")
    assert opening.request.policy == pb.POLICY_RESTRICTED
    assert (opening.request.seed, opening.request.tools) == (asked.seed, asked.tools)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (pb.OpenSession(tools=[tool("a"), tool("a")]), "'a' is given twice"),
        (pb.OpenSession(tools=[tool("a")], constants={"a.b": pb.Value(text="x")}), "both"),
        (pb.OpenSession(tools=[tool("_image.pixels")]), "no public identifier"),
        (pb.OpenSession(tools=[tool("a", "(x=open('f'))")]), "no literal"),
        (pb.OpenSession(tools=[tool("a", "(): pass\nimport os\ndef b()")]), "more than a signature"),
        (pb.OpenSession(tools=[tool("a", "(x=" + "(" * 5000 + ")" * 5000 + ")")]), "no signature"),
        (pb.OpenSession(tools=[tool("a", "(x=" + "-" * 100_000 + "1)")]), "no signature"),
        (pb.OpenSession(limits=pb.Limits(memory_mb=1)), "memory_mb"),
        (pb.OpenSession(policy=77), "policy 77"),  # type: ignore[arg-type]  # what a newer client may send
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_named(asked: pb.OpenSession, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Opening.of(asked)


def test_a_constant_without_content_is_refused() -> None:
    with pytest.raises(ProtocolError):
        Opening.of(pb.OpenSession(constants={"a": pb.Value()}))
