"""The generator `openai`: a vendor's image API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import SecretStr

from maia.services._runtime.images_api import ApiOptions, Ask, ImagesApi
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.results import MadePicture
from maia.services.generation.model import GeneratorInfo, Wish
from maia.wire.errors import MaiaError

_GUIDE: Final = (
    "Pictures are made by a large text-to-image model. Describe each in one or two plain English sentences: what it"
    " shows, how many, their colours and places, the background, and whether it is a photograph or a drawing. Its rules"
    " refuse violent, sexual and similar pictures."
)


class OpenAiGenerator:
    """Asks a vendor; a `maia.services.generation.model.Generator`.

    Args:
        options: Which model.
        key: The vendor's; None only for a server of one's own.
    """

    def __init__(self, options: ApiOptions, key: SecretStr | None) -> None:
        self._api = ImagesApi(options, key)
        self._info = GeneratorInfo(options.model, self._api.revision(), _GUIDE, *options.size)

    @property
    def info(self) -> GeneratorInfo:
        """Its description."""
        return self._info

    def key(self, wish: Wish) -> str:  # noqa: ARG002  any wishes may be asked for at once
        """Return the same for all."""
        return self._info.name

    def draw(self, wishes: Sequence[Wish], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        """Ask for a picture for each wish, several at once; see `ImagesApi.make`."""
        return self._api.make([Ask(wish.prompt, wish.index) for wish in wishes], abandoned)
