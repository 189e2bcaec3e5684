"""Questions to a vendor's model: several at once, by its own SDK."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from maia.services import description
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.revision import revision_of
from maia.services._runtime.vendor import Asked, Vendor, answers
from maia.services.description.answers import Answer, answered, line
from maia.services.description.backends.vendors.dialect import Dialect
from maia.services.description.backends.vendors.options import VendorOptions
from maia.services.description.model import DescriberInfo, Question, Task
from maia.wire.errors import MaiaError, PreconditionError

OWN_KEY_VARIABLE: Final = "MAIA_COMPATIBLE_API_KEY"
"""Holds the key of another server than the vendor's, which shall not get the vendor's."""


class VendorDescriber:
    """Asks a vendor; a `maia.services.description.model.Describer`.

    Args:
        options: Which model.
        key: The vendor's; None only for a server of one's own.
        dialect: How this vendor is asked.

    Raises:
        PreconditionError: MODEL_UNNAMED or KEY_MISSING.
    """

    def __init__(self, options: VendorOptions, key: SecretStr | None, dialect: Dialect) -> None:
        if not options.model:
            raise PreconditionError("no model is named; --model takes the vendor's name", reason="MODEL_UNNAMED")
        variable = key_variable(options, dialect)
        if key is None and not options.base_url:
            raise PreconditionError(f"set {variable} to the vendor's key", reason="KEY_MISSING")
        address = options.base_url or dialect.address
        self._options = options
        self._dialect = dialect
        self._vendor = Vendor(
            options.model, address, variable, key, options.attempt_s, options.patience_s, adjustable=True
        )
        code = revision_of((Path(description.__file__).parent, Path(__file__).parent))
        told = json.dumps([code, address, options.model, options.max_tokens, options.temperature])
        # What the vendor changes behind a name does not show.
        self._info = DescriberInfo(options.model, hashlib.sha256(told.encode()).hexdigest()[:12])

    @property
    def info(self) -> DescriberInfo:
        """Its description."""
        return self._info

    def key(self, task: Task, views: int) -> str:  # noqa: ARG002  any questions may be asked at once
        """Return the same for all."""
        return self._info.name

    def answer(self, questions: Sequence[Question], abandoned: Abandoned) -> list[Answer]:
        """Ask each question, several at once.

        Returns:
            A line for each, or the error of one that failed alone; see `Vendor.answer`.

        Raises:
            CancelledError: Nobody waits for the answers any more.
        """
        return answered(questions, lambda others: asyncio.run(self._all(others, abandoned)))

    async def _all(self, questions: Sequence[Question], abandoned: Abandoned) -> list[Answer]:
        async with self._dialect.client(self._vendor) as client:
            asks = [partial(self._one, client, question) for question in questions]
            return await answers(asks, self._options.parallel, abandoned)

    async def _one(self, client: Any, question: Question) -> Answer:  # noqa: ANN401  see `Dialect`
        asked = Asked(question.what, question.place)
        body = await self._vendor.answer(self._dialect.sdk(), partial(self._dialect.ask, client, question), asked)
        if isinstance(body, MaiaError):
            return body
        try:
            reply = self._dialect.read(body)
        except ValueError:
            return self._vendor.unreadable(f"is none of this protocol; check --base-url, now {self._vendor.address}")
        if reply.refused is not None:
            return self._vendor.refusal(reply.refused, asked)
        return line(reply.text, question, cut=reply.cut, limit=self._options.max_tokens, model=self._options.model)


def key_variable(options: VendorOptions, dialect: Dialect) -> str:
    """Return the environment variable that holds the key."""
    return OWN_KEY_VARIABLE if options.base_url else dialect.key_variable
