"""Numbers as people read them."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """Return "3.2 s", "1:05" or "2:01:05"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(count: int, noun: str) -> str:
    """Return "1 round", "3 rounds"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
