"""A request to open a session, checked as a host on the same machine checks its arguments."""

from __future__ import annotations

from dataclasses import dataclass

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.limits import Limits
from maia.sandbox.protocol.toolspec import ToolSpec, check_names
from maia.sandbox.protocol.values import decode_value
from maia.sandbox.remote.messages import limits_of

_POLICIES = {
    pb.POLICY_UNSPECIFIED: pb.POLICY_RESTRICTED,
    pb.POLICY_RESTRICTED: pb.POLICY_RESTRICTED,
    pb.POLICY_OFF: pb.POLICY_OFF,
}


@dataclass(frozen=True, slots=True)
class Opening:
    """What a client asked for.

    Attributes:
        request: For the guest, which is not told its limits.
        limits: Of the session.
        names: Of its tools.
    """

    request: pb.OpenSession
    limits: Limits
    names: tuple[str, ...]

    @classmethod
    def of(cls, asked: pb.OpenSession) -> Opening:
        """Check a client's request.

        Raises:
            ValueError: Tools that are none, clashing names, limits below what a guest needs, an unknown policy.
            ProtocolError: A constant outside the codec's rules.
        """
        for tool in asked.tools:
            ToolSpec(tool.name, tool.signature, tool.documentation)
        names = tuple(tool.name for tool in asked.tools)
        check_names([*names, *asked.constants])
        for value in asked.constants.values():
            decode_value(value)
        if asked.policy not in _POLICIES:
            raise ValueError(f"policy {asked.policy} is unknown")
        limits = limits_of(asked.limits)
        request = pb.OpenSession()
        request.CopyFrom(asked)
        request.ClearField("limits")
        request.policy = _POLICIES[asked.policy]
        return cls(request, limits, names)
