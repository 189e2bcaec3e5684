"""The editor `openai`: a vendor's image API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import SecretStr

from maia.services._runtime.images_api import ApiOptions, Ask, ImagesApi
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.results import MadePicture
from maia.services.editing.model import Edit, EditorInfo
from maia.wire.errors import MaiaError
from maia.wire.pictures import encode_png

_GUIDE: Final = (
    "Pictures are edited by a large model that follows an instruction. Name the one change, as an order in plain"
    " English, and add that everything else shall stay as it is, since small things may change with it. Its rules"
    " refuse violent, sexual and similar pictures."
)


class OpenAiEditor:
    """Asks a vendor; a `maia.services.editing.model.Editor`.

    Args:
        options: Which model.
        key: The vendor's; None only for a server of one's own.
    """

    def __init__(self, options: ApiOptions, key: SecretStr | None) -> None:
        self._api = ImagesApi(options, key)
        self._info = EditorInfo(options.model, self._api.revision(), _GUIDE)

    @property
    def info(self) -> EditorInfo:
        """Its description."""
        return self._info

    def key(self, size: tuple[int, int]) -> str:  # noqa: ARG002  any edits may be asked for at once
        """Return the same for all."""
        return self._info.name

    def edit(self, edits: Sequence[Edit], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        """Ask for each edit, several at once; see `ImagesApi.make`.

        The vendor gets the upright pixels as PNG, not the sender's file, which may say where a photograph was taken.
        """
        asks = [Ask(edit.instruction, edit.index, encode_png(edit.rgb)) for edit in edits]
        return self._api.make(asks, abandoned)
