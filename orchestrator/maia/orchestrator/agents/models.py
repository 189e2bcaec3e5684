"""What is known of models: limits of a request and prices, from `models.toml` and a file of the user's."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from maia.orchestrator.agents.registry import AgentName, parse_agent
from maia.orchestrator.agents.request_parts import first_problem
from maia.orchestrator.context import ContextLimits
from maia.orchestrator.conversation import TokenUsage
from maia.orchestrator.user_files import read_small_text
from maia.wire.errors import InvalidRequestError

_DATE: Final = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")
_MILLION: Final = 1_000_000
_STRICT: Final = ConfigDict(frozen=True, extra="forbid")


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = _STRICT

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_read: float = Field(ge=0)
    cache_write: float = Field(ge=0)

    def usd(self, usage: TokenUsage) -> float:
        """Return what one request cost."""
        return (
            usage.input * self.input
            + usage.output * self.output
            + usage.cache_read * self.cache_read
            + usage.cache_write * self.cache_write
        ) / _MILLION


class LongPrice(Price):
    """The price of a request whose input, what came from the cache included, has more than `above` tokens."""

    above: int = Field(ge=0)


class ModelFacts(BaseModel):
    """What is known of one model; None where nobody knows.

    Attributes:
        context_tokens: What conversation and reply may hold together.
        pictures: Most pictures of a request.
        picture_side: Longest side of a picture in pixels, where a request holds many.
        request_bytes: Largest request.
        price: Of a request.
        long_price: Of a long one.
    """

    model_config = _STRICT

    context_tokens: int | None = Field(default=None, ge=1)
    pictures: int | None = Field(default=None, ge=0)
    picture_side: int | None = Field(default=None, ge=1)
    request_bytes: int | None = Field(default=None, ge=1)
    price: Price | None = None
    long_price: LongPrice | None = None

    def usd(self, usage: TokenUsage) -> float | None:
        """Return what one request cost in US dollars, None where the price is not known."""
        if self.long_price and usage.input + usage.cache_read + usage.cache_write > self.long_price.above:
            return self.long_price.usd(usage)
        return self.price.usd(usage) if self.price else None

    def limits(self, *, reply_tokens: int, context_tokens: int | None = None) -> ContextLimits:
        """Return what a conversation may hold.

        Args:
            reply_tokens: Kept free for the reply.
            context_tokens: Instead of what is known.
        """
        context = context_tokens or self.context_tokens
        return ContextLimits(
            # A context that the longest reply would fill is shared by halves.
            tokens=max(context - reply_tokens, context // 2) if context else None,
            pictures=self.pictures,
            picture_side=self.picture_side,
            request_bytes=self.request_bytes,
        )


FREE: Final = ModelFacts(price=Price(input=0, output=0, cache_read=0, cache_write=0))
"""Of backbones that ask no vendor."""


def facts_of(agent: str, file: Path | None = None) -> ModelFacts:
    """Return what is known of an agent's model.

    Args:
        agent: As given to --agent.
        file: A TOML file of the form of `models.toml`; its fields win.

    Raises:
        UnknownAgentError: No such name.
        InvalidRequestError: PRICES_INVALID: the file cannot be read, or is not of that form.
    """
    name = parse_agent(agent)
    tables = [_builtin(), *([_read(file)] if file else [])]
    if name.kind in ("scripted", "replay"):
        return FREE
    fields: dict[str, Any] = {}
    for table in tables:
        found = _found(table, name)
        if "price" in found:
            fields.pop("long_price", None)  # of a price that no longer holds
        fields |= found
    return ModelFacts.model_validate(fields)


def require_price(agent: str, file: Path | None, why: str) -> None:
    """Refuse a model whose price is not known.

    Args:
        agent: As given to --agent.
        file: Of --prices.
        why: What needs the price.

    Raises:
        InvalidRequestError: PRICE_UNKNOWN; the message says how to give it.
    """
    if facts_of(agent, file).price is not None:
        return
    name = parse_agent(agent)
    raise InvalidRequestError(
        f"{why} needs the price of {agent}, which is not known; give it with --prices FILE, a TOML file such as "
        f'model = [{{models = ["{name.kind}:{name.rest}"], '
        "price = {input = 1, output = 4, cache_read = 1, cache_write = 1}}], in US dollars per million tokens",
        reason="PRICE_UNKNOWN",
    )


class _Entry(ModelFacts):
    models: list[str] = Field(min_length=1)


class _Table(BaseModel):
    model_config = _STRICT

    model: list[_Entry] = Field(min_length=1)


def _found(table: _Table, name: AgentName) -> Mapping[str, Any]:
    """Return the fields of the entry that names the model, with its date or without, else of the first that fits."""
    full = f"{name.kind}:{name.rest}"
    for candidate in (full, _DATE.sub("", full)):
        for entry in table.model:
            if candidate in entry.models:
                return entry.model_dump(exclude={"models"}, exclude_unset=True)
    for entry in table.model:
        if any(fnmatchcase(full, pattern) for pattern in entry.models):
            return entry.model_dump(exclude={"models"}, exclude_unset=True)
    return {}


@cache
def _builtin() -> _Table:
    text = (resources.files(__package__ or "") / "models.toml").read_text(encoding="utf-8")
    return _Table.model_validate(tomllib.loads(text))


def _read(file: Path) -> _Table:
    try:
        return _Table.model_validate(tomllib.loads(read_small_text(file.expanduser())))
    except OSError as error:
        raise InvalidRequestError(
            f"the price file {file} cannot be read: {error.strerror}; give another --prices", reason="PRICES_INVALID"
        ) from error
    except ValidationError as error:
        raise InvalidRequestError(
            f"the price file {file} is not of the form of maia/orchestrator/agents/models.toml: {first_problem(error)}",
            reason="PRICES_INVALID",
        ) from error
    except ValueError as error:
        raise InvalidRequestError(f"the price file {file} is no TOML: {error}", reason="PRICES_INVALID") from error
