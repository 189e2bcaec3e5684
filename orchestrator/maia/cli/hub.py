"""What `maia doctor` says of the Hugging Face hub: whether there is a token, and for which models it is needed.

The token itself is never shown.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from maia.cli.config import Config
from maia.cli.rows import Row
from maia.services._runtime.gated import GATED, is_gated
from maia.services.description.settings import DescriptionSettings
from maia.services.editing.settings import EditingSettings
from maia.services.generation.settings import GenerationSettings
from maia.services.subject.settings import SubjectSettings
from maia.wire.errors import InvalidRequestError
from maia.wire.settings import load_settings

_TOKEN: Final = "HF_TOKEN"  # noqa: S105  # the name of the variable
_Settings: TypeAlias = GenerationSettings | EditingSettings | DescriptionSettings
_LOCAL: Final = ("diffusers", "transformers")
"""Backends that run models of the hub on this machine."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model that a server would fetch from the hub."""

    server: str
    model: str


async def hub_rows(config: Config) -> list[Row]:
    """Return whether there is a token, and which of the models that the settings name need it."""
    families = f"gated models: {', '.join(f'{name}…' for name in GATED)} and others"
    if os.environ.get(_TOKEN):
        return [Row("keys", "good", f"{_TOKEN} is set, for {families}")]
    if _logged_in():
        return [Row("keys", "good", f"{_TOKEN} is not set, but `hf auth login` has kept a token, for {families}")]
    rows = [Row("keys", "note", f"{_TOKEN} is not set; the hub wants it for {families}")]
    try:
        for wanted in _wanted(config):
            if is_gated(wanted.model):
                rows.append(Row("keys", "note", _needed(wanted)))  # noqa: PERF401  # those before an error stay
    except InvalidRequestError as error:
        rows.append(Row("keys", "note", error.message))
    return rows


def _needed(wanted: Wanted) -> str:
    return (
        f"the {wanted.server} server needs {_TOKEN} to download {wanted.model}: accept its licence at "
        f"https://huggingface.co/{wanted.model}, then set the variable"
    )


def _wanted(config: Config) -> Iterator[Wanted]:
    """What the file and the environment name that is not in a folder here.

    Raises:
        InvalidRequestError: SETTING_INVALID: a server would not start with them.
    """
    file = ["--config", str(config.config_file)] if config.config_file else []
    subject = load_settings(SubjectSettings, "subject", file, program="maia serve subject")
    for name in (*subject.model, *subject.on_demand):
        library, _, model = name.partition(":")
        if library == "transformers" and not _is_here(model, subject):
            yield Wanted("subject", model)
    kinds: dict[str, type[_Settings]] = {
        "generation": GenerationSettings,
        "editing": EditingSettings,
        "description": DescriptionSettings,
    }
    for server, kind in kinds.items():
        settings = load_settings(kind, server, file, program=f"maia serve {server}")
        if settings.backend in _LOCAL and not _is_here(settings.model, settings):
            yield Wanted(server, settings.model)


def _is_here(model: str, settings: SubjectSettings | _Settings) -> bool:
    """Whether nothing would be downloaded."""
    folders = [Path(model), *([settings.model_dir / model] if settings.model_dir else [])]
    return settings.offline or any(folder.is_dir() for folder in folders)


def _logged_in() -> bool:
    if importlib.util.find_spec("huggingface_hub") is None:
        return False
    from huggingface_hub import get_token

    try:
        return bool(get_token())
    except (OSError, ValueError):  # the file that should hold it cannot be read
        return False
