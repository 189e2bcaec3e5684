"""Settings of the subject server."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from maia.wire.settings import ServerSettings


def _names(value: object) -> object:
    return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value


class SubjectSettings(ServerSettings):
    """The subject server: frozen models under study, and how their units respond to pictures."""

    model_config = SettingsConfigDict(env_prefix="MAIA_SUBJECT_")

    model: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)] = Field(
        default=("scene-neurons", "scenes-cnn"), min_length=1, description="subjects to host, separated by commas"
    )
