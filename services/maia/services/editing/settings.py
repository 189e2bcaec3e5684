"""Settings of the editing server."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from maia.services._runtime.picture_settings import PictureSettings


class EditingSettings(PictureSettings):
    """The editing server: pictures from a picture and an instruction."""

    model_config = SettingsConfigDict(env_prefix="MAIA_EDITING_")
