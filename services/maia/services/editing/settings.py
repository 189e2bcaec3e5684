"""Settings of the editing server."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from maia.wire.settings import ServerSettings


class EditingSettings(ServerSettings):
    """The editing server: pictures from a picture and an instruction."""

    model_config = SettingsConfigDict(env_prefix="MAIA_EDITING_")

    backend: Literal["scenes"] = Field(default="scenes", description="what does the work: scenes")
