"""Vendors' models, by the vendors' own SDKs against a server on loopback."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import SecretStr
from tests.unit.services.description.views import described, upper_half, views
from tests.unit.services.runtime import vendor as loopback
from tests.unit.services.runtime.pictures import never, noise
from tests.unit.services.runtime.vendor import Answer, Request, Vendor

from maia.services.description.answers import Answer as Said
from maia.services.description.backends.vendors import pictures
from maia.services.description.backends.vendors.anthropic import Messages
from maia.services.description.backends.vendors.describer import VendorDescriber, key_variable
from maia.services.description.backends.vendors.dialect import Dialect
from maia.services.description.backends.vendors.openai import ChatCompletions
from maia.services.description.backends.vendors.options import VendorOptions
from maia.services.description.model import Question, Task, View
from maia.services.description.prompts import prompt
from maia.wire.errors import (
    CancelledError,
    InvalidRequestError,
    MaiaError,
    OverloadedError,
    PreconditionError,
    UnavailableError,
)
from maia.wire.maps import darken
from maia.wire.pictures import decode

KEY = "sk-proj-Yb7TqK3pWd9F-very-secret"
WORDS = "A red circle on a lawn."

Name = Literal["openai", "anthropic"]
NAMES: tuple[Name, ...] = ("openai", "anthropic")


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with loopback.serving() as running:
        yield running


def dialect(name: Name, options: VendorOptions) -> Dialect:
    return ChatCompletions(options) if name == "openai" else Messages(options)


def describer(name: Name, vendor: Vendor, key: str | None = KEY, **more: Any) -> VendorDescriber:
    url = vendor.url if name == "openai" else vendor.url.removesuffix("/v1")
    options = VendorOptions("model-9", url, **more)
    return VendorDescriber(options, SecretStr(key) if key else None, dialect(name, options))


def message(name: Name, text: str = WORDS, *, why: str = "") -> Answer:
    """What the vendor says: `text`, ended for the reason that it gives, or as usual."""
    if name == "openai":
        choice = {"index": 0, "finish_reason": why or "stop", "message": {"role": "assistant", "content": text}}
        return Answer(200, {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})
    content = [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": text}]
    head = {"id": "x", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    usage = {"input_tokens": 1, "output_tokens": 1}
    return Answer(200, {**head, "content": content, "stop_reason": why or "end_turn", "usage": usage})


def failure(name: Name, status: int, text: str, kind: str = "some_error", **headers: str) -> Answer:
    # The SDK's own pauses between attempts would only make the test slow.
    told = {"retry-after-ms": "1"} | {header.replace("_", "-"): value for header, value in headers.items()}
    if name == "openai":
        return Answer(status, {"error": {"message": text, "type": kind, "param": None, "code": None}}, told)
    return Answer(status, {"type": "error", "error": {"type": kind, "message": text}}, told)


def sent(name: Name, request: Request) -> tuple[str, list[tuple[str, bytes]]]:
    """Text and pictures of a request, as kind and file."""
    (turn,) = request.fields["messages"]
    assert turn["role"] == "user"
    *images, text = turn["content"]
    if name == "openai":
        urls = [image["image_url"]["url"].removeprefix("data:").partition(";base64,") for image in images]
        return text["text"], [(kind, base64.b64decode(data)) for kind, _, data in urls]
    sources = [image["source"] for image in images]
    return text["text"], [(source["media_type"], base64.b64decode(source["data"])) for source in sources]


def answer(name: Name, vendor: Vendor, **more: Any) -> Said:
    (said,) = describer(name, vendor, **more).answer(described(views()[0]), never)
    return said


@pytest.mark.parametrize("name", NAMES)
def test_the_masked_view_is_shown_and_its_region_asked_about(name: Name, vendor: Vendor) -> None:
    vendor.answer = lambda _: message(name, f"\n{WORDS}\n")
    whole, masked, *_ = views()
    assert masked.mask is not None
    for view, shown in ((whole, whole.rgb), (masked, darken(masked.rgb, masked.mask))):
        vendor.requests.clear()
        question = Question(Task.DESCRIBE, (view,))
        assert describer(name, vendor).answer([question], never) == [WORDS]
        (request,) = vendor.requests
        text, ((kind, file),) = sent(name, request)
        assert text == prompt(question)
        assert kind == "image/png"
        assert np.array_equal(decode(file), shown)


@pytest.mark.parametrize("name", NAMES)
def test_a_summary_is_one_request_with_all_pictures_in_order(name: Name, vendor: Vendor) -> None:
    vendor.answer = lambda _: message(name)
    question = Question(Task.SUMMARIZE, tuple(views()))
    assert describer(name, vendor).answer([question], never) == [WORDS]
    (request,) = vendor.requests
    text, files = sent(name, request)
    assert text == prompt(question)
    assert [decode(file).shape for _, file in files] == [view.rgb.shape for view in views()]


def test_what_each_vendor_is_told(vendor: Vendor) -> None:
    vendor.answer = lambda _: message("openai")
    for more, expected in (
        ({}, {"max_tokens": 2048, "temperature": 0.0}),
        (
            {"max_tokens": 50, "temperature": 0.5, "limit_field": "max_completion_tokens"},
            {"max_completion_tokens": 50, "temperature": 0.5},
        ),
    ):
        vendor.requests.clear()
        answer("openai", vendor, **more)
        (request,) = vendor.requests
        assert request.path == "/v1/chat/completions"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        told = {field: value for field, value in request.fields.items() if field != "messages"}
        assert told == {"model": "model-9", **expected}
    vendor.requests.clear()
    vendor.answer = lambda _: message("anthropic")
    answer("anthropic", vendor, max_tokens=60)
    (request,) = vendor.requests
    assert request.path == "/v1/messages"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    told = {field: value for field, value in request.fields.items() if field != "messages"}
    assert told == {"model": "model-9", "max_tokens": 60}


def test_openai_itself_is_told_by_its_own_names(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor.answer = lambda _: message("openai")
    monkeypatch.setattr(ChatCompletions, "address", vendor.url)
    options = VendorOptions("model-9")
    VendorDescriber(options, SecretStr(KEY), ChatCompletions(options)).answer(described(views()[0]), never)
    assert {*vendor.requests[0].fields} == {"model", "messages", "max_completion_tokens"}


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_given_to_those_who_asked_and_come_in_several_at_once(name: Name, vendor: Vendor) -> None:
    both = threading.Barrier(2)

    def by_size(request: Request) -> Answer:
        both.wait(20)
        _, ((_, file),) = sent(name, request)
        return message(name, f"{decode(file).shape[1]} wide")

    vendor.answer = by_size
    four = views()[:4]
    said = describer(name, vendor, parallel=2).answer(described(*four), never)
    assert said == [f"{view.rgb.shape[1]} wide" for view in four]


@pytest.mark.parametrize("name", NAMES)
def test_a_question_that_fails_fails_alone_with_its_index(name: Name, vendor: Vendor) -> None:
    def refuse_wide(request: Request) -> Answer:
        _, ((_, file),) = sent(name, request)
        if decode(file).shape[1] == 100:
            return failure(name, 400, "Your request was rejected by the safety system.")
        return message(name)

    vendor.answer = refuse_wide
    first, second, third = describer(name, vendor).answer(described(*views()[:3]), never)
    assert (first, third) == (WORDS, WORDS)
    assert isinstance(second, InvalidRequestError)
    assert (second.reason, second.metadata["index"]) == ("CONTENT_REFUSED", "1")


REFUSED: Mapping[Name, Answer] = {
    "openai": Answer(
        200,
        {
            "choices": [
                {"finish_reason": "stop", "message": {"role": "assistant", "content": None, "refusal": "I will not."}}
            ]
        },
    ),
    "anthropic": message("anthropic", "", why="refusal"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_declines_is_told_apart_from_one_that_says_nothing(name: Name, vendor: Vendor) -> None:
    cut = "length" if name == "openai" else "max_tokens"
    for said, reason in (
        (REFUSED[name], "CONTENT_REFUSED"),
        (message("openai", "x", why="content_filter") if name == "openai" else REFUSED[name], "CONTENT_REFUSED"),
        (message(name, " \n"), "DESCRIPTION_EMPTY"),
        (message(name, "", why=cut), "DESCRIPTION_EMPTY"),
    ):
        vendor.answer = lambda _, said=said: said  # type: ignore[misc]
        error = answer(name, vendor)
        assert isinstance(error, MaiaError), error
        assert (error.reason, error.metadata["index"]) == (reason, "0")
    vendor.answer = lambda _: message(name, "A red cir", why=cut)
    assert answer(name, vendor) == "A red cir…"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("status", "text", "kind", "reason"),
    [
        (400, "temperature is not supported", InvalidRequestError, "VENDOR_REQUEST_REFUSED"),
        (400, "prompt is too long: 300000 tokens > 200000 maximum", InvalidRequestError, "REQUEST_TOO_LARGE"),
        (413, "Request exceeds the maximum size", InvalidRequestError, "REQUEST_TOO_LARGE"),
        (400, "Your credit balance is too low", PreconditionError, "KEY_REFUSED"),
        (401, f"Incorrect API key provided: {KEY}", PreconditionError, "KEY_REFUSED"),
        (401, f"Incorrect API key provided: {KEY[:12]}", PreconditionError, "KEY_REFUSED"),
        (403, "Not allowed", PreconditionError, "KEY_REFUSED"),
        (429, "insufficient_quota: You exceeded your quota", PreconditionError, "KEY_REFUSED"),
        (404, "no such model", PreconditionError, "MODEL_MISSING"),
        (408, "too slow", UnavailableError, "VENDOR_UNAVAILABLE"),
        (500, f"oops\nwith {KEY}", UnavailableError, "VENDOR_UNAVAILABLE"),
        (529, "Overloaded", UnavailableError, "VENDOR_UNAVAILABLE"),
    ],
)
def test_failures_are_ours(
    vendor: Vendor, name: Name, status: int, text: str, *, kind: type[MaiaError], reason: str
) -> None:
    vendor.answer = lambda _: failure(name, status, text)
    error = answer(name, vendor)
    assert type(error) is kind
    assert isinstance(error, MaiaError)
    assert error.reason == reason
    for secret in (KEY, KEY[:12], "secret"):
        assert secret not in error.message
    assert "\n" not in error.message
    assert len(error.message) < 600


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "body", [b"<html>", {}, {"choices": []}, {"content": "text"}, [], {"choices": [{"message": 1}]}]
)
def test_an_answer_of_another_protocol_is_told_so(name: Name, vendor: Vendor, body: object) -> None:
    vendor.answer = lambda _: Answer(200, body)
    error = answer(name, vendor)
    assert isinstance(error, UnavailableError)
    assert error.reason == "VENDOR_UNREADABLE"
    assert "--base-url" in error.message


@pytest.mark.parametrize("name", NAMES)
def test_a_rate_limit_says_when_to_come_back(name: Name, vendor: Vendor) -> None:
    vendor.answer = lambda _: failure(name, 429, "Rate limit reached", "rate_limit_error", retry_after="17")
    error = answer(name, vendor)
    assert isinstance(error, OverloadedError)
    assert (error.retry_after_s, error.reason) == (17.0, "VENDOR_OVERLOADED")
    assert len(vendor.requests) == 3  # the SDK tries again by itself


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_or_a_cut_connection_is_tried_again_and_then_told(name: Name, vendor: Vendor) -> None:
    whole = message(name)
    cut = Answer(200, json.dumps(whole.body).encode(), cut=True)
    for bad in (failure(name, 500, "oops"), cut):
        vendor.requests.clear()
        vendor.answer = lambda _, bad=bad: bad if len(vendor.requests) == 1 else whole  # type: ignore[misc]
        assert answer(name, vendor) == WORDS
    vendor.requests.clear()
    vendor.answer = lambda _: cut
    error = answer(name, vendor)
    assert isinstance(error, UnavailableError)
    assert error.reason == "VENDOR_UNAVAILABLE"
    assert len(vendor.requests) == 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("limit", ["attempt_s", "patience_s"])
def test_a_time_limit_is_named(name: Name, vendor: Vendor, limit: str) -> None:
    ended = threading.Event()

    def silent(_: Request) -> Answer:
        ended.wait(20)
        return message(name)

    vendor.answer = silent
    try:
        error = answer(name, vendor, **{limit: 0.25})
    finally:
        ended.set()
    assert isinstance(error, UnavailableError)
    assert error.reason == "VENDOR_TOO_SLOW"
    assert "0.25 s" in error.message
    assert f"--{limit.replace('_', '-')}" in error.message
    assert len(vendor.requests) == (3 if limit == "attempt_s" else 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_server_that_is_not_there_is_named(name: Name) -> None:
    error = answer(name, Vendor("http://127.0.0.1:9/v1"))
    assert isinstance(error, UnavailableError)
    assert "127.0.0.1:9" in error.message


@pytest.mark.parametrize("name", NAMES)
def test_an_abandoned_batch_is_given_up_while_the_vendor_still_thinks(name: Name, vendor: Vendor) -> None:
    begun, ended = threading.Event(), threading.Event()

    def slow(_: Request) -> Answer:
        begun.set()
        ended.wait(20)
        return message(name)

    vendor.answer = slow
    try:
        with pytest.raises(CancelledError):
            describer(name, vendor, parallel=1).answer(described(*views()[:2]), begun.is_set)
        assert not ended.is_set()
        assert len(vendor.requests) == 1  # the second was not asked any more
    finally:
        ended.set()


@pytest.mark.parametrize("name", NAMES)
def test_a_model_and_a_key_are_needed(name: Name) -> None:
    variable = "OPENAI_API_KEY" if name == "openai" else "ANTHROPIC_API_KEY"
    for options, key, reason in (
        (VendorOptions(""), KEY, "MODEL_UNNAMED"),
        (VendorOptions("m"), None, "KEY_MISSING"),
    ):
        with pytest.raises(PreconditionError) as caught:
            VendorDescriber(options, SecretStr(key) if key else None, dialect(name, options))
        assert caught.value.reason == reason
    assert variable in caught.value.message
    own = VendorOptions("m", "http://127.0.0.1:1")
    assert key_variable(VendorOptions("m"), dialect(name, VendorOptions("m"))) == variable
    assert key_variable(own, dialect(name, own)) == "MAIA_COMPATIBLE_API_KEY"


@pytest.mark.parametrize("name", NAMES)
def test_another_server_gets_nothing_of_a_vendors_account(
    name: Name, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (
        *("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"),
        *("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    ):
        monkeypatch.setenv(variable, "of-the-account")
    for variable in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
        monkeypatch.setenv(variable, "x-mine: of-the-account")
    vendor.answer = lambda _: message(name)
    assert describer(name, vendor, key=None).answer(described(views()[0]), never) == [WORDS]
    assert "of-the-account" not in str(vendor.requests[0].headers)


def test_large_pictures_are_sent_smaller_and_as_jpeg_where_png_would_be_large() -> None:
    grain = np.random.default_rng(1).integers(0, 256, (1000, 3000, 3), np.uint8)
    flat = np.full((1000, 3000, 3), 200, np.uint8)
    for rgb, kind in ((flat, "image/png"), (grain, "image/jpeg"), (noise(1, 30, 20), "image/png")):
        picture = pictures.sent(View(rgb, None))
        shown = decode(base64.b64decode(picture.data), media_type=kind)
        assert picture.media_type == kind
        assert max(shown.shape) == min(max(rgb.shape), pictures.SIDE)
        assert shown.shape[1] / shown.shape[0] == pytest.approx(rgb.shape[1] / rgb.shape[0], rel=0.01)
    masked = pictures.sent(View(flat, upper_half(3000, 1000)))
    shown = decode(base64.b64decode(masked.data))
    assert (shown[0] == 200).all()
    assert (shown[-1] == 50).all()


def test_the_revision_changes_with_what_decides_the_words(vendor: Vendor) -> None:
    revisions = {
        describer("openai", vendor, **more).info.revision
        for more in ({}, {"max_tokens": 9}, {"temperature": 1.0}, {"parallel": 9}, {"attempt_s": 9.0})
    }
    assert len(revisions) == 3
    assert describer("anthropic", vendor).info.revision not in revisions
