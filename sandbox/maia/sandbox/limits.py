"""What a session may use, how a block ended, and what it used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Limits", "Outcome", "State", "Status", "Usage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a block (wall_s, cpu_s, output_bytes) and a session (the others) may use.

    Attributes:
        wall_s: Seconds a block may take; the clock stands still during a tool call.
        cpu_s: CPU seconds of all threads of a block; tool calls included.
        memory_mb: MiB of address space beyond what the interpreter and the preloaded libraries take.
        output_bytes: Bytes a block may print; more is cut at a character.
        tmp_mb: MiB of the private /tmp, which is also the largest file.
        threads: Threads at any time, the main one included.
        open_files: File descriptors at any time.
        cpus: Processors at once, where a cgroup bounds them (`Host.features` says whether).
        tool_calls: Tool calls over the session's life.
        tool_bytes: Bytes of their arguments and results over the session's life.
        images: Images that code makes and passes out, and images whose pixels it fetches, over the session's life.

    Raises:
        ValueError: A limit below what a guest needs; the message names it.
    """

    wall_s: float = 60.0
    cpu_s: float = 60.0
    memory_mb: int = 1024
    output_bytes: int = 256 * 1024
    tmp_mb: int = 64
    threads: int = 16
    open_files: int = 64
    cpus: float = 1.0
    tool_calls: int = 100_000
    tool_bytes: int = 8 * 1024**3
    images: int = 100_000

    def __post_init__(self) -> None:
        least = {
            "wall_s": 0.01,
            "cpu_s": 0.01,
            "memory_mb": 32,
            "output_bytes": 256,
            "tmp_mb": 1,
            "threads": 1,
            "open_files": 16,
            "cpus": 0.05,
            "tool_calls": 0,
            "tool_bytes": 0,
            "images": 0,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            end = 2**50 if name == "tool_bytes" else 2**31
            if not bound <= value < end:  # as false for what is not a number
                raise ValueError(f"limit {name} is {value}; it must be at least {bound} and below {end:,}")


class Status(Enum):
    """How a block ended."""

    OK = "ok"
    EXCEPTION = "exception"
    POLICY = "policy"
    WALL_CLOCK = "wall_clock"
    CPU = "cpu"
    MEMORY = "memory"
    OUTPUT = "output"
    KILLED = "killed"
    INTERRUPTED = "interrupted"


class State(Enum):
    """What became of a session's variables."""

    KEPT = "kept"
    RESTORED = "restored"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a block used, as the host measured it.

    Attributes:
        wall_s: Seconds without those in tool calls.
        cpu_s: CPU seconds of all the guest's threads.
        tool_s: Seconds in tool calls.
        peak_memory_bytes: The session's largest resident set so far, shared libraries included; 0 if it is not known.
        tool_calls: Tool calls made.
        output_bytes: Bytes printed, those cut off included.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    tool_s: float = 0.0
    peak_memory_bytes: int = 0
    tool_calls: int = 0
    output_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one block ended.

    Attributes:
        status: The kind of end.
        message: One readable text: the traceback of the block's own lines for an exception, the limit and what to do
            about it, empty for OK.
        output: Standard output and errors in the order of writing, cut at the limit with a note.
        state: Whether the variables of this and earlier blocks are still there.
        usage: What it took.
    """

    status: Status
    message: str
    output: str
    state: State
    usage: Usage

    @property
    def ok(self) -> bool:
        """Whether the block ran to its end."""
        return self.status is Status.OK
