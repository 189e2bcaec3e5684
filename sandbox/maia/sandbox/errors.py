"""What can go wrong in a sandbox, as one small tree.

::

    SandboxError
    ├── TierUnavailableError   the kernel refuses what isolation needs; nothing was run
    ├── SessionsFullError      a remote host has as many sessions as it may; `retry_after_s` says when to ask again
    ├── SessionError           this session is over: it died, broke the protocol or was closed; others are unharmed
    │   ├── SessionLostError   a block was killed earlier and its variables with it; open another session
    │   └── HostGoneError      what held it ended, here or elsewhere, or is out of reach: no fault of the block that ran
    ├── ProtocolError          a frame or a value outside the rules; a session turns it into a SessionError
    └── ToolError              the caller's fault: raised by a tool, it arrives in the guest as an exception

What a block does wrong is none of these: it is an `Outcome`.
"""

from __future__ import annotations

__all__ = [
    "HostGoneError",
    "ProtocolError",
    "SandboxError",
    "SessionError",
    "SessionLostError",
    "SessionsFullError",
    "TierUnavailableError",
    "ToolError",
]


class SandboxError(Exception):
    """Any failure of the sandbox."""


class TierUnavailableError(SandboxError):
    """This machine cannot isolate sessions as asked.

    Attributes:
        tier: Which tier: "jail".
        step: What was tried, for example "unshare(user)".
        errno: The kernel's answer, 0 where there is none.
        remedy: The command or setting that mends it.
    """

    def __init__(self, step: str, errno: int, reason: str, remedy: str, tier: str = "jail") -> None:
        super().__init__(f"the tier {tier} is not available here: {step} failed ({reason}). {remedy}")
        self.tier = tier
        self.step = step
        self.errno = errno
        self.remedy = remedy


class SessionsFullError(SandboxError):
    """A remote host has as many sessions as it may; nothing was run.

    Attributes:
        retry_after_s: Seconds after which to ask again.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SessionError(SandboxError):
    """A session is over, through a fault of its guest, its host or its use."""


class SessionLostError(SessionError):
    """The session's process was killed by an earlier block; its variables are gone."""


class HostGoneError(SessionError):
    """What held the session has ended or is out of reach, through no fault of the session's code; open another.

    That is a remote host, or on this machine the process or engine that all sessions depend on.
    """


class ProtocolError(SandboxError):
    """A frame or a value that breaks the rules of `maia.execution.v1`."""


class ToolError(SandboxError):
    """A tool cannot do what it was asked, and the caller can do something about it.

    Raised by a tool, its text reaches the guest's code as an exception of the same name.
    """
