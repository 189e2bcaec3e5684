"""Code is coloured and escaped, and every letter of it is there."""

from html import unescape
from re import sub

from hypothesis import given
from hypothesis import strategies as st

from maia.orchestrator.report.highlighting import LIMIT, highlighted
from maia.orchestrator.report.visible import visible


def test_colours() -> None:
    html = highlighted('for x in ["</script>"]:\n    print(x, 3)  # why')
    assert '<span class="t-keyword">for</span>' in html
    assert '<span class="t-string">&#34;&lt;/script&gt;&#34;</span>' in html
    assert '<span class="t-number">3</span>' in html
    assert '<span class="t-comment"># why</span>' in html


@given(st.text(st.sampled_from("x1 =\"'#<>&\n\t()f{}\\") | st.characters()))
def test_every_letter_is_there_and_no_other_tag(code: str) -> None:
    html = highlighted(code)
    text = sub(r'<span class="t-(keyword|string|number|comment|name)">|</span>', "", html)
    assert "<" not in text
    assert unescape(text) == visible(code).rstrip("\n")


def test_long_code_is_cut_and_says_so() -> None:
    assert "7 more characters in journal.jsonl" in highlighted("<" * (LIMIT + 7))
