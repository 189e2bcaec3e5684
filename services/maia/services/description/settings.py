"""Settings of the description server."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from maia.wire.settings import ServerSettings


class DescriptionSettings(ServerSettings):
    """The description server: words for pictures, or for the highlighted parts of pictures."""

    model_config = SettingsConfigDict(env_prefix="MAIA_DESCRIPTION_")

    backend: Literal["scenes"] = Field(default="scenes", description="what does the work: scenes")
