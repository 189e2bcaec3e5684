"""Settings of the generation server."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from maia.wire.settings import ServerSettings


class GenerationSettings(ServerSettings):
    """The generation server: pictures from text."""

    model_config = SettingsConfigDict(env_prefix="MAIA_GENERATION_")

    backend: Literal["scenes"] = Field(default="scenes", description="what does the work: scenes")
