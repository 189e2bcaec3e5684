"""How a vendor's API differs from another's."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from maia.services._runtime.vendor import Vendor
from maia.services.description.model import Question

__all__ = ["Dialect", "Reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model wrote.

    Attributes:
        text: "" for nothing.
        cut: It would have written more.
        refused: Why it, or a filter behind it, does not answer; None if it does.
    """

    text: str
    cut: bool = False
    refused: str | None = None


class Dialect(Protocol):
    """One API. Its client's type is the SDK's own, so that only the dialect itself knows it."""

    @property
    def address(self) -> str:
        """The vendor's base URL."""
        ...

    @property
    def key_variable(self) -> str:
        """The environment variable that holds the vendor's key."""
        ...

    def sdk(self) -> ModuleType:
        """Import the vendor's SDK, which nothing else needs."""
        ...

    def client(self, vendor: Vendor) -> AbstractAsyncContextManager[Any]:
        """Return a client, closed with its context."""
        ...

    async def ask(self, client: Any, question: Question) -> bytes:  # noqa: ANN401  see the class
        """Ask once, and return the answer's body unread: the SDKs' own models accept nearly anything.

        Raises:
            Exception: The SDK's, as `Vendor.answer` expects it.
        """
        ...

    def read(self, body: bytes) -> Reply:
        """Read an answer's body.

        Raises:
            ValueError: It is none of this API.
        """
        ...
