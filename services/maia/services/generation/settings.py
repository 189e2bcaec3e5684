"""Settings of the generation server."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from maia.services._runtime.picture_settings import PictureSettings


class GenerationSettings(PictureSettings):
    """The generation server: pictures from text."""

    model_config = SettingsConfigDict(env_prefix="MAIA_GENERATION_")
