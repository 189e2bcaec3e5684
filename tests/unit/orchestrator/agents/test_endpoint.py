"""The sentence of an error: the vendor's words, never the key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from maia.orchestrator.agents.endpoint import Endpoint

KEY = "sk-proj-Yb7TqK3pWd9F-very-secret"


def endpoint(key: str = KEY) -> Endpoint:
    return Endpoint("gpt-9", "https://api.example/v1", "OPENAI_API_KEY", SecretStr(key))


@pytest.mark.parametrize(
    ("quoted", "left"),
    [
        (f"Incorrect key {KEY}.", "cret"),
        (f"Incorrect key {KEY[:16]}… was given", KEY[:16]),
        ("Incorrect key sk-************************cret was given", "cret"),
        (f"Bearer {KEY}", "Yb7"),
    ],
)
def test_a_quoted_key_is_taken_out_and_the_rest_is_left(quoted: str, left: str) -> None:
    said = str(endpoint().refused(401, {"error": {"message": quoted}}))
    assert left not in said
    assert "[key]" in said
    assert quoted.partition(" ")[0] in said


@given(
    before=st.text(max_size=400), after=st.text(max_size=10), key=st.text("abcdefXYZ0123-_", min_size=6, max_size=40)
)
def test_no_text_around_it_saves_a_key(before: str, after: str, key: str) -> None:
    asked = endpoint(f"sk-{key}")
    text = f"{before}sk-{key}{after}"
    errors = [
        asked.refused(400, {"message": text}),
        asked.refused(500, text),
        asked.unreadable("not JSON", text.encode("utf-8", "replace")),
        asked.declined(text),
        asked.out_of_reach(OSError(text)),
    ]
    for error in errors:
        assert f"sk-{key}" not in error.message
        assert error.message.isprintable()
        assert len(error.message) < 1000


@given(
    st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "detail"]), inner)
        ),
    )
)
def test_any_body_gives_a_sentence(body: object) -> None:
    assert str(endpoint().refused(418, body)).startswith("gpt-9 answered 418")


def test_a_page_without_a_break_is_read_quickly() -> None:
    assert len(str(endpoint().refused(502, "x" * 5_000_000))) < 500
