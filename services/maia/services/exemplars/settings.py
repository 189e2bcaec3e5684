"""Settings of the exemplars server."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from maia.services._runtime.folders import cache_folder
from maia.services._runtime.settings import ToolServerSettings


def default_store() -> Path:
    """Return the folder of exemplars when none is named."""
    return cache_folder("exemplars")


class ExemplarsSettings(ToolServerSettings):
    """The exemplars server: the dataset pictures that drive a unit most."""

    model_config = SettingsConfigDict(env_prefix="MAIA_EXEMPLARS_")

    store: Path = Field(
        default_factory=default_store, description="folder of the exemplars (default: in ~/.cache/maia)"
    )
