"""Settings that only some of a server's backends heed."""

from __future__ import annotations

from collections.abc import Mapping

from maia.wire.errors import InvalidRequestError
from maia.wire.settings import ServerSettings

__all__ = ["check_heeded"]


def check_heeded(settings: ServerSettings, backend: str, heeded: Mapping[str, frozenset[str]]) -> None:
    """Refuse settings that the chosen backend would not heed.

    Args:
        settings: Of the server.
        backend: The chosen one.
        heeded: Names of the settings that each backend heeds; all that stand nowhere here are for every backend.

    Raises:
        InvalidRequestError: SETTING_INVALID.
    """
    own = frozenset().union(*heeded.values())
    unheeded = settings.model_fields_set & (own - heeded[backend])
    if unheeded:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(unheeded))
        raise InvalidRequestError(
            f"the backend {backend} does not heed {named}; leave it out or choose another --backend",
            reason="SETTING_INVALID",
        )
