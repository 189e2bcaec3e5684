"""Markdown: the part that is understood, and that nothing else becomes markup."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.orchestrator.report.prose import prose

TAGS = {"p", "br", "strong", "code", "ul", "ol", "li", "pre"}


class Tags(HTMLParser):
    """Collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert all(name == "class" and value in ("quoted", "heading") for name, value in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("one\ntwo\n\nthree", "<p>one<br>two</p>\n<p>three</p>"),
        ("**bold** and `a<b`", "<p><strong>bold</strong> and <code>a&lt;b</code></p>"),
        ("- one\n* two\n  more", "<ul><li>one</li><li>two</li><li>more</li></ul>"),
        ("1. one\n2) two", "<ol><li>one</li><li>two</li></ol>"),
        ("## Title\ntext", '<p class="heading">Title</p>\n<p>text</p>'),
        ("a\n```text\n# <no> heading\n\n- no item\n```\nb", None),
        ("2 * 3 ** 4 * 5", "<p>2 * 3 ** 4 * 5</p>"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("![x](https://example.org/x.png)", "<p>![x](https://example.org/x.png)</p>"),
        ("`**not bold**`", "<p><code>**not bold**</code></p>"),
        ("```one line```\n\ntext", "<p>``<code>one line</code>``</p>\n<p>text</p>"),
        ("", ""),
    ],
)
def test_what_is_understood(text: str, html: str | None) -> None:
    fenced = '<p>a</p>\n<pre class="quoted"># &lt;no&gt; heading\n\n- no item</pre>\n<p>b</p>'
    assert prose(text) == (html if html is not None else fenced)


@given(st.text(st.sampled_from("ab <>&\"'`*#-1.\n~[]()") | st.characters()))
def test_whatever_is_written_only_our_tags_come_out(text: str) -> None:
    parser = Tags()
    parser.feed(prose(text))
    parser.close()
    assert set(parser.tags) <= TAGS


@pytest.mark.parametrize(
    "text", ["**a " * 25_000, "x" + "`" * 99_999, "* " * 50_000, "#" * 99_999, "- " * 50_000, "(" * 99_999]
)
def test_no_text_takes_more_than_linear_time(text: str) -> None:
    assert len(prose(text)) >= len(text) / 3  # a quadratic scan of these would hang the suite


def test_an_unclosed_fence_is_shown_to_the_end() -> None:
    assert prose("a\n```python\nx = 1\n\ny") == '<p>a</p>\n<pre class="quoted">x = 1\n\ny</pre>'
