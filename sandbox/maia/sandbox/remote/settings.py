"""Settings of a sandbox host."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from maia.sandbox.host.tiers.choice import TIERS, TierName
from maia.wire.settings import ServerSettings


class SandboxSettings(ServerSettings):
    """A sandbox host: runs sessions for clients on other machines, whose tools stay with them."""

    model_config = SettingsConfigDict(env_prefix="MAIA_SANDBOX_")

    tier: TierName = Field(default="auto", description=f"how sessions are isolated: auto, {', '.join(TIERS)}")
    max_sessions: int = Field(default=100, ge=1, le=100_000, description="most sessions at once")
    pool_size: int = Field(default=2, ge=0, le=1000, description="containers kept ready for each set of limits")
    cache_dir: Path | None = Field(default=None, description="where to remember what a session's root needs")
    allow_unisolated: bool = Field(default=False, description="allow the tier none, which isolates nothing")
