"""Who is asked, and the one sentence for everything that can go wrong with it.

Vendors and the servers between quote what they were sent, keys included, and compatible servers may answer anything.
So what they say is shortened, stripped of control characters and of the key; and backbones raise these errors without
a cause (`from None`), since a traceback would print the vendor's own text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pydantic import SecretStr

from maia.orchestrator.errors import BackboneError

_LONGEST: Final = 300
_READ: Final = 2000
"""Characters of a vendor's text that are looked at; a page of HTML may have a million."""
_HALF_HIDDEN_KEY: Final = re.compile(r"\S*\*{3,}\S*")


class _Case(NamedTuple):
    reason: str
    transient: bool
    advice: str


_REQUEST: Final = _Case(
    "BACKBONE_REQUEST_REFUSED", transient=False, advice="the model or server does not take this request"
)
_TOO_LARGE: Final = _Case(
    "BACKBONE_REQUEST_TOO_LARGE",
    transient=False,
    advice="run with a smaller --context-tokens or fewer --max-rounds, or a model with a larger context",
)
_NO_CREDIT: Final = _Case("BACKBONE_NO_CREDIT", transient=False, advice="the account has no credit left; add some")
_LIMIT_FIELD: Final = _Case(
    "BACKBONE_REQUEST_REFUSED",
    transient=False,
    advice="the server calls the reply's limit by another name; change the setting limit_field"
    " (max_tokens or max_completion_tokens) or lower max_tokens",
)
_FAULT: Final = _Case("BACKBONE_SERVER_FAULT", transient=True, advice="the server has a fault; try again later")
_OVERLOADED: Final = _Case("BACKBONE_OVERLOADED", transient=True, advice="the server is overloaded; try again later")
_CASES: Final[Mapping[int, _Case]] = {
    401: _Case("BACKBONE_KEY_REFUSED", transient=False, advice="check the key in {variable}"),
    402: _NO_CREDIT,
    403: _Case("BACKBONE_KEY_REFUSED", transient=False, advice="the key in {variable} may not use this model here"),
    404: _Case("BACKBONE_MODEL_UNKNOWN", transient=False, advice="check the model's name{address_advice}"),
    408: _FAULT,
    409: _FAULT,
    413: _TOO_LARGE,
    429: _Case("BACKBONE_RATE_LIMITED", transient=True, advice="wait, or run fewer units at once"),
    501: _REQUEST,
    503: _OVERLOADED,
    529: _OVERLOADED,
}
_NO_CREDIT_WORDS: Final = re.compile(r"insufficient_quota|billing_|credit balance", re.IGNORECASE)
_TOO_LARGE_WORDS: Final = re.compile(
    r"context_length_exceeded|prompt is too long|maximum context|too many images", re.IGNORECASE
)
_LIMIT_WORDS: Final = re.compile(r"\bmax_(completion_)?tokens\b")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model at an address.

    Attributes:
        name: As the user gave it to --agent.
        address: Base URL.
        key_variable: The environment variable that holds the key.
        key: None only for a compatible server.
        address_given: Whether the user chose the address, and so may have to change it.
    """

    name: str
    address: str
    key_variable: str
    key: SecretStr | None = field(repr=False)
    address_given: bool = False

    def refused(self, status: int, body: object) -> BackboneError:
        """Error for a status of 400 or more.

        Args:
            status: HTTP status.
            body: The decoded JSON body, or its text, or the error object inside.
        """
        code, words = _vendor_words(body)
        case = _case(status, f"{code} {words}")
        address_advice = f", and --base-url, now {self.address} (most end in /v1)" if self.address_given else ""
        advice = case.advice.format(variable=self.key_variable, address_advice=address_advice)
        named = f"{status} {code}" if code else str(status)
        said = self._clean(f"{named}: {words}" if words else named)
        return BackboneError(
            f"{self.name} answered {said}. What to do: {advice}.", transient=case.transient, reason=case.reason
        )

    def out_of_reach(self, cause: BaseException | None) -> BackboneError:
        """Error for a connection that could not be made or was cut."""
        why = self._clean(str(cause)) if cause is not None and str(cause) else "connection failed"
        advice = "start the server or correct --base-url" if self.address_given else "check the network"
        return BackboneError(
            f"{self.name} is out of reach at {self.address}: {why}. What to do: {advice}.",
            transient=True,
            reason="BACKBONE_OUT_OF_REACH",
        )

    def too_slow(self, seconds: float, what: str) -> BackboneError:
        """Error for a time limit that passed.

        Args:
            seconds: The limit.
            what: What it limits, for example "per attempt".
        """
        return BackboneError(
            f"{self.name} at {self.address} did not answer within {seconds:g} s {what}."
            " What to do: try again later or raise the limit.",
            transient=True,
            reason="BACKBONE_TOO_SLOW",
        )

    def unreadable(self, problem: str, body: bytes) -> BackboneError:
        """Error for a successful answer that is not one of this protocol."""
        start = self._clean(body.decode("utf-8", "replace"))[:120]
        advice = "check --base-url: it must be that of such a server" if self.address_given else "try again later"
        return BackboneError(
            f"{self.name} at {self.address} answered what its protocol does not know ({self._clean(problem)}),"
            f" starting with {start!r}. What to do: {advice}.",
            transient=not self.address_given,
            reason="BACKBONE_UNREADABLE",
        )

    def declined(self, words: str) -> BackboneError:
        """Error for a model or filter that will not answer this conversation."""
        return BackboneError(
            f"{self.name} declined to answer: {self._clean(words)}. What to do: use another model;"
            " asking the same again rarely helps.",
            transient=False,
            reason="BACKBONE_DECLINED",
        )

    def full(self) -> BackboneError:
        """Error for a conversation that filled the model's context before a word of the reply."""
        return BackboneError(
            f"{self.name} has no room left for a reply in its context. What to do: {_TOO_LARGE.advice}.",
            transient=False,
            reason=_TOO_LARGE.reason,
        )

    def _clean(self, text: str) -> str:
        """One printable line without the key, or what a vendor leaves readable of it."""
        if self.key is not None:  # before anything is cut, which could leave a piece of it
            secret = self.key.get_secret_value()
            text = text.replace(secret, "[key]")
            if len(secret) > 12:  # an excerpt such as "sk-abcdef…": the head alone must be long enough to mean the key
                text = re.sub(re.escape(secret[:8]) + r"\S*", "[key]", text)
        line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[:_READ]).split())
        line = _HALF_HIDDEN_KEY.sub("[key]", line)
        return (line if len(line) <= _LONGEST else line[:_LONGEST] + "…").rstrip(". ")


def _case(status: int, said: str) -> _Case:
    """Choose by status, then by the vendor's words where one status means several things."""
    if status in {400, 403, 429} and _NO_CREDIT_WORDS.search(said):
        return _NO_CREDIT
    if status in {400, 422}:
        if _TOO_LARGE_WORDS.search(said):
            return _TOO_LARGE
        return _LIMIT_FIELD if _LIMIT_WORDS.search(said) else _REQUEST
    return _CASES.get(status, _FAULT if status >= 500 else _REQUEST)


def _vendor_words(body: object) -> tuple[str, str]:
    """Find code and message in an error body; servers nest and name them in many ways."""
    match body:
        case [first, *_]:  # Gemini's endpoint wraps its error in a list
            return _vendor_words(first)
        case {"error": (dict() | str()) as inner}:
            return _vendor_words(inner)
        case {"message": str() as message, **rest}:
            codes = [value for value in (rest.get("code"), rest.get("type")) if isinstance(value, str)]
            return (codes[0] if codes else ""), message
        case {"detail": detail}:  # FastAPI
            return "", str(detail)
        case None:
            return "", ""
        case _:
            return "", str(body)
