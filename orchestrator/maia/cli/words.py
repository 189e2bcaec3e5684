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


def short(count: int) -> str:
    """Return "950", "12 k" or "3.4 M"."""
    if count < 1000:
        return str(count)
    if count < 999_500:
        return f"{count / 1000:.1f} k" if count < 9950 else f"{count / 1000:.0f} k"
    return f"{count / 1e6:.1f} M" if count < 99.95e6 else f"{count / 1e6:,.0f} M"


def dollars(amount: float) -> str:
    """Return "$0.0042", "$1.37" or "$1,250"."""
    if 0 < amount < 0.01:
        return f"${amount:.4f}"
    return f"${amount:.2f}" if amount < 999.995 else f"${amount:,.0f}"
