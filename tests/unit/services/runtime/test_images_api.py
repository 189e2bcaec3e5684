"""A vendor's image API, by the vendor's own SDK against a server on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from tests.unit.services.runtime import vendor as loopback
from tests.unit.services.runtime.pictures import never, noise, pixels
from tests.unit.services.runtime.vendor import Answer, Request, Vendor, failure, picture

from maia.services._runtime import images_api
from maia.services._runtime.images_api import SEEDLESS, ApiOptions, Ask, ImagesApi, key_of_environment
from maia.services._runtime.results import MadePicture
from maia.services.editing.backends.openai import OpenAiEditor
from maia.services.editing.model import Edit
from maia.services.generation.backends.openai import OpenAiGenerator
from maia.services.generation.model import Wish
from maia.wire.errors import (
    CancelledError,
    InvalidRequestError,
    MaiaError,
    OverloadedError,
    PreconditionError,
    UnavailableError,
)
from maia.wire.pictures import decode, encode_png

KEY = "sk-proj-Yb7TqK3pWd9F-very-secret"


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with loopback.serving() as running:
        yield running


def options(vendor: Vendor, **more: Any) -> ApiOptions:
    return ApiOptions("image-9", vendor.url, **more)


def made(vendor: Vendor, *prompts: str, **more: Any) -> list[MadePicture | MaiaError]:
    api = ImagesApi(options(vendor, **more), SecretStr(KEY))
    return api.make([Ask(prompt, index) for index, prompt in enumerate(prompts)], never)


def test_a_picture_is_asked_for_and_comes_back(vendor: Vendor) -> None:
    generator = OpenAiGenerator(options(vendor, width=1536, height=1024), SecretStr(KEY))
    (drawn,) = generator.draw([Wish("a red apple", 5)], never)
    assert np.array_equal(pixels(drawn), noise(3, 40, 24))
    assert isinstance(drawn, MadePicture)
    assert drawn.warnings == (SEEDLESS,)
    (request,) = vendor.requests
    assert request.path == "/v1/images/generations"
    wanted = {"model": "image-9", "prompt": "a red apple", "n": 1, "size": "1536x1024", "response_format": "b64_json"}
    assert request.fields == wanted
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert (generator.info.width, generator.info.height) == (1536, 1024)


def test_openai_itself_is_not_told_the_form_of_its_answer(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_api, "_ADDRESS", vendor.url)
    ImagesApi(ApiOptions("image-9"), SecretStr(KEY)).make([Ask("x", 0)], never)
    assert "response_format" not in vendor.requests[0].fields


def test_an_edit_sends_the_pixels_and_not_the_senders_file(vendor: Vendor) -> None:
    rgb = noise(1, 30, 20)
    editor = OpenAiEditor(options(vendor), SecretStr(KEY))
    (edited,) = editor.edit([Edit(b"a file with a place in it", rgb, "make it green", 1)], never)
    assert np.array_equal(pixels(edited), noise(3, 40, 24))
    (request,) = vendor.requests
    assert request.path == "/v1/images/edits"
    assert request.fields["prompt"] == "make it green"
    assert "size" not in request.fields  # the vendor goes by the picture's shape
    assert np.array_equal(decode(request.file), rgb)


def test_answers_are_given_to_those_who_asked_and_come_in_several_at_once(vendor: Vendor) -> None:
    both = threading.Barrier(2)

    def answer(request: Request) -> Answer:
        both.wait(20)
        number = int(request.fields["prompt"])
        return picture(encode_png(noise(number, 16, 16)))

    vendor.answer = answer
    for number, one in enumerate(made(vendor, "0", "1", "2", "3", parallel=2)):
        assert np.array_equal(pixels(one), noise(number, 16, 16))


def test_a_refused_prompt_fails_alone_with_its_index(vendor: Vendor) -> None:
    vendor.answer = lambda request: (
        failure(400, "Your request was rejected by the safety system.", "moderation_blocked")
        if request.fields["prompt"] == "bad"
        else picture()
    )
    good, bad = made(vendor, "good", "bad")
    assert isinstance(good, MadePicture)
    assert isinstance(bad, InvalidRequestError)
    assert (bad.reason, bad.metadata["index"]) == ("CONTENT_REFUSED", "1")


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (failure(400, "Invalid size.", "invalid_value"), InvalidRequestError, "VENDOR_REQUEST_REFUSED"),
        (failure(401, f"Incorrect API key provided: {KEY}"), PreconditionError, "KEY_REFUSED"),
        (failure(403, "Not allowed"), PreconditionError, "KEY_REFUSED"),
        (failure(429, "You exceeded your quota", "insufficient_quota"), PreconditionError, "KEY_REFUSED"),
        (failure(404, "no such model", "model_not_found"), PreconditionError, "MODEL_MISSING"),
        (failure(500, "oops"), UnavailableError, "VENDOR_UNAVAILABLE"),
        (Answer(200, {"data": [{"url": "http://127.0.0.1/x.png"}]}), UnavailableError, "VENDOR_UNREADABLE"),
        (Answer(200, {"data": []}), UnavailableError, "VENDOR_UNREADABLE"),
        (Answer(200, b"<html>"), UnavailableError, "VENDOR_UNREADABLE"),
        (picture(b"GIF89a"), UnavailableError, "VENDOR_UNREADABLE"),
    ],
)
def test_failures_are_ours(vendor: Vendor, answer: Answer, kind: type[MaiaError], reason: str) -> None:
    vendor.answer = lambda _: answer
    (error,) = made(vendor, "x")
    assert type(error) is kind
    assert isinstance(error, MaiaError)
    assert error.reason == reason
    assert "secret" not in error.message
    assert "\n" not in error.message


def test_a_rate_limit_says_when_to_come_back(vendor: Vendor) -> None:
    vendor.answer = lambda _: failure(429, "Rate limit reached", "rate_limit_exceeded", retry_after="17")
    (error,) = made(vendor, "x")
    assert isinstance(error, OverloadedError)
    assert (error.retry_after_s, error.reason) == (17.0, "VENDOR_OVERLOADED")
    assert len(vendor.requests) == 3  # the SDK tries again by itself


def test_a_passing_fault_is_tried_again(vendor: Vendor) -> None:
    vendor.answer = lambda _: failure(500, "oops") if len(vendor.requests) == 1 else picture()
    assert isinstance(made(vendor, "x")[0], MadePicture)


def test_a_server_that_is_not_there_is_named() -> None:
    api = ImagesApi(ApiOptions("m", "http://127.0.0.1:9/v1"), None)
    (error,) = api.make([Ask("x", 0)], never)
    assert isinstance(error, UnavailableError)
    assert "127.0.0.1:9" in error.message


def test_an_abandoned_batch_is_given_up_at_once(vendor: Vendor) -> None:
    gone = threading.Event()

    def slow(_: Request) -> Answer:
        gone.set()
        time.sleep(5)
        return picture()

    vendor.answer = slow
    begun = time.monotonic()
    with pytest.raises(CancelledError):
        ImagesApi(options(vendor), SecretStr(KEY)).make([Ask("x", 0)], gone.is_set)
    assert time.monotonic() - begun < 5


def test_a_model_and_a_key_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, key, reason in ((ApiOptions(""), KEY, "MODEL_UNNAMED"), (ApiOptions("m"), None, "KEY_MISSING")):
        with pytest.raises(PreconditionError) as caught:
            ImagesApi(given, SecretStr(key) if key else None)
        assert caught.value.reason == reason
    vendors, own = ApiOptions("m"), ApiOptions("m", "http://127.0.0.1:1/v1")
    monkeypatch.delenv("MAIA_COMPATIBLE_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    found = key_of_environment(vendors)
    assert found is not None
    assert found.get_secret_value() == KEY
    assert KEY not in repr(found)
    assert key_of_environment(own) is None
    monkeypatch.setenv("OPENAI_API_KEY", "")
    assert key_of_environment(vendors) is None


def test_another_server_gets_nothing_of_an_openai_account(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-account")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-account")
    ImagesApi(options(vendor), None).make([Ask("x", 0)], never)
    assert "of-the-account" not in str(vendor.requests[0].headers)
    assert "openai-organization" not in vendor.requests[0].headers
