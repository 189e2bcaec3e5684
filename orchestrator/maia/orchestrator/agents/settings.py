"""What a person may set about a vendor's backbone; the command line reads it and passes it on."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class BackboneKeys(BaseModel):
    """The vendors' keys; None where there is none. Their text shows in no repr and no dump."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    anthropic: SecretStr | None = None
    openai: SecretStr | None = None
    compatible: SecretStr | None = None


class BackboneSettings(BaseModel):
    """How a vendor is asked.

    Attributes:
        max_tokens: Longest reply, the model's thinking included.
        attempt_s: Seconds that one HTTP attempt may stay silent.
        patience_s: Seconds for one reply, all attempts and the waits between them included. A vendor may ask for any
            wait in `Retry-After`; this is what bounds it.
        max_retries: Further attempts after a rate limit, an overload, a server's fault or a cut connection. The waits
            are the SDK's: what the vendor asks for, else doubling from 0.5 s to 8 s.
        cache_ttl: How long Anthropic keeps the prompt cache; "1h" pays when experiments take longer than 5 minutes.
        limit_field: How a compatible server calls `max_tokens`; the OpenAI API itself knows only the newer name.
        check_rules: Check every request against the vendor's rules before it is sent (see `rules`); for debugging.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: int = Field(default=16_000, ge=1)
    attempt_s: float = Field(default=600.0, gt=0)
    patience_s: float = Field(default=1800.0, gt=0)
    max_retries: int = Field(default=6, ge=0, le=50)
    cache_ttl: Literal["5m", "1h"] = "5m"
    limit_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    check_rules: bool = False
