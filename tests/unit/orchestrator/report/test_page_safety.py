"""A hostile journal: nothing that an agent or a tool wrote becomes markup, script, style or a request."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from maia.orchestrator.events import ImageAdded, UnitName
from maia.orchestrator.report import UnitResult, write_index, write_unit

MakeRun = Callable[..., Any]
HOSTILE = [
    "<script>alert(1)</script>",
    "</style><script>alert(2)</script>",
    "</script><img src=x onerror=alert(3)>",
    "--><svg onload=alert(4)>",
    '" onmouseover="alert(5)" x="',
    "' autofocus onfocus='alert(6)",
    "[click](javascript:alert(7)) ![](https://example.org/t.png)",
    '<a href="javascript:alert(8)">x</a><base href="//example.org/">',
    "data:text/html;base64,PHNjcmlwdD5hbGVydCg5KTwvc2NyaXB0Pg==",
    "{{ 7 * 7 }} {% include 'x' %} ${alert(10)}",
    "<link rel=stylesheet href=//example.org/x.css><meta http-equiv=refresh content='0;url=http://example.org'>",
    "\u202egnp.exe \u2066 nul \0 esc \x1b[2J bell \x07 שלום",
    "@import url(//example.org/y.css); *{background:url(http://example.org/z)}",
    "<textarea><title><noscript><template><plaintext>",
]
# No img, iframe, link, base, object, template, textarea: what the page shows needs none of them.
ALLOWED = frozenset(
    """html head meta title style script body a header main footer section article figure figcaption form label input
    kbd p span div h1 h2 h3 strong b br small code pre ol ul li dl dt dd details summary table thead tbody tr th td
    svg path rect text circle""".split()  # noqa: SIM905  as a list it would take 50 lines
)
ADDRESSES = {"href", "src", "action", "formaction", "data", "poster", "srcset", "xlink:href", "background"}


class Page(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.ids: Counter[str] = Counter()
        self.bodies: dict[str, list[str]] = {"style": [], "script": []}
        self.text = ""
        self.policy = ""
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self._inside = tag
        for name, value in attrs:
            assert not name.startswith("on"), f"{name}={value}"
            assert name != "style"
            if name in ADDRESSES:
                self.addresses.append(value or "")
            if name == "id":
                self.ids[value or ""] += 1
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in self.bodies:
            self.bodies[self._inside].append(data)
        else:
            self.text += data


def hostile_run(folder: Path, new_run: MakeRun) -> None:
    """Put every hostile text wherever a text of an agent, a tool or a server can stand."""
    every = "\n".join(HOSTILE)
    run = new_run(folder, UnitName(model="m<b>", layer='l"&', index=1), agent=HOSTILE[1], system=every)
    for text in HOSTILE:
        code = f"# {text}\nx = '''{text}'''\n".replace("\0", "0")
        run.reply(
            f"{text}\n\n- {text}\n\n**{text}** `{text}`\n\n## {text}\n\nHypothesis: {text}\n\n```python\n{code}```\n"
            f"```html\n{text}\n```\n",
            stop_reason=text,
            model=text,
        )
        run.start(code)
        views = run.measure([text], [3.0], [text])
        run.show(text, views[0], f"{text}\n{text}")
        run.use(text, {text: [text, {"image": text}]}, error=text)
        run.append(ImageAdded(text, 9, 9, source={"tool": text, text: text}, view_of=text, view={"activation": 1.0}))
        run.print(text * 3)
        run.end(text, text, state=text)
        run.say(run.round, "no_code", [])
    run.reply("x" * 100_000 + "\n```python\n" + "(" * 100_000 + "\n```")
    run.start("(" * 100_000 + "\n")
    run.print("y" * 300_000)
    run.end("exception", "z" * 100_000)
    run.conclude(every, HOSTILE)


@pytest.fixture
def page(tmp_path: Path, new_run: MakeRun) -> str:
    hostile_run(tmp_path / "1", new_run)
    write_unit(tmp_path / "1", HOSTILE[0])
    return (tmp_path / "1" / "experiment.html").read_text(encoding="utf-8")


def check(page: Page) -> None:
    assert set(page.tags) - ALLOWED == set()
    assert page.tags["script"] == 1
    assert max(page.ids.values(), default=1) == 1
    for body in (*page.bodies["style"], *page.bodies["script"]):
        assert not re.search(r"https?:|url\((?!data:image/)|@import|//example", body)
        digest = base64.b64encode(sha256(body.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in page.policy
    assert "unsafe" not in page.policy
    assert page.policy.startswith("default-src 'none'")


def test_the_page_acts_on_nothing_that_was_written_to_it(page: str) -> None:
    parsed = Page(page)
    check(parsed)
    local = re.compile(r"#[a-z]+(-?\d+)?|images/[0-9a-f]{64}\.png|journal\.jsonl|history\.json|result\.json")
    assert all(local.fullmatch(address) for address in parsed.addresses)


def test_links_within_the_page_lead_somewhere(page: str) -> None:
    parsed = Page(page)
    inner = {address[1:] for address in parsed.addresses if address.startswith("#")}
    assert inner
    assert inner <= set(parsed.ids)


def test_what_was_written_can_be_read(page: str) -> None:
    text = Page(page).text
    for hostile in HOSTILE[:11]:
        assert hostile in text
    assert "[U+202E]gnp.exe [U+2066] nul ␀ esc ␛[2J bell ␇ שלום" in text


def test_the_page_stays_of_a_sane_size(page: str) -> None:
    without_pictures = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert len(without_pictures) < 900_000
    assert "more characters in journal.jsonl" in page


def test_each_picture_is_in_the_page_once(tmp_path: Path, investigated: MakeRun) -> None:
    investigated(tmp_path).conclude("d", ["l"])
    write_unit(tmp_path, None)
    page = (tmp_path / "experiment.html").read_text(encoding="utf-8")
    counts = [page.count(base64.b64encode(file.read_bytes()).decode()) for file in (tmp_path / "images").iterdir()]
    # The composed views need not be in it: their originals with masks are.
    assert set(counts) == {0, 1}
    assert counts.count(1) == 15 + 4 + 3 + 2


def test_the_index_acts_on_nothing_that_was_written_to_it(tmp_path: Path) -> None:
    unit = UnitName(model=HOSTILE[0], layer=HOSTILE[4], index=1)
    folder = tmp_path / HOSTILE[4] / "a b%20?#" / "l" / "1"
    rows = [
        UnitResult(
            folder=folder, unit=unit, agent=text, status="concluded", labels=(text,), description=text, truth=text
        )
        for text in HOSTILE
    ]
    rows.append(UnitResult(folder=folder, unit=unit, agent="a", status="invalid", reason=HOSTILE[2]))
    page = Page(write_index(tmp_path, rows).read_text(encoding="utf-8"))
    check(page)
    assert set(page.addresses) == {
        "%22%20onmouseover%3D%22alert%285%29%22%20x%3D%22/a%20b%2520%3F%23/l/1/experiment.html",
        "index.csv",
        "index.json",
    }
