"""What an operator may choose about a vendor's model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LimitField = Literal["max_tokens", "max_completion_tokens"]


@dataclass(frozen=True, slots=True)
class VendorOptions:
    """Which model of which vendor, and how it is asked.

    Attributes:
        model: As the vendor calls it.
        base_url: Of another server that speaks the vendor's protocol; "" for the vendor.
        max_tokens: Longest answer, with the model's own thinking.
        parallel: Requests at once.
        attempt_s: Seconds that one attempt may stay silent.
        patience_s: Seconds for an answer, with all attempts and the waits between them.
        temperature: None for 0 at another server and for the vendor's own choice at the vendor, whose newer models
            refuse to be told. Of OpenAI's protocol alone.
        limit_field: What the server calls `max_tokens`; None for what is usual. Of OpenAI's protocol alone.
    """

    model: str
    base_url: str = ""
    max_tokens: int = 2048
    parallel: int = 4
    attempt_s: float = 60.0
    patience_s: float = 180.0
    temperature: float | None = None
    limit_field: LimitField | None = None
