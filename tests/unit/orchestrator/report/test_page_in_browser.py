"""The page in a real browser: its policy lets its own script run, and the script does what it says.

Spoken to over Chromium's debugging pipe: messages of JSON, each ended by a NUL, on the descriptors 3 and 4.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from maia.orchestrator.events import UnitName
from maia.orchestrator.report import rebuild, write_unit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe"
)


class Browser:
    """One tab; remembers every error and every request."""

    def __init__(self, profile: Path) -> None:
        to_browser, self._commands = os.pipe()
        self._answers, from_browser = os.pipe()
        command = f'exec "{CHROMIUM}" {FLAGS} --user-data-dir="$1" about:blank 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, "bash", str(profile)],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._number = 0
        self._session = ""
        self._buffer = b""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, page: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def complaints(self) -> list[Any]:
        """Return exceptions, logged errors, violations of the policy and requests for anything but local files."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        asked = [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]
        return [event for event in self.events if event["method"] in kinds] + [
            url for url in asked if not url.startswith(("file:", "data:image/"))
        ]

    def close(self) -> None:
        os.close(self._commands)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._answers], [], [], 60)[0], "the browser hangs"
            piece = os.read(self._answers, 1 << 20)
            assert piece, "the browser ended"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(tmp_path: Path, browser: Browser, investigated: Callable[..., Any]) -> Browser:
    investigated(tmp_path).conclude("Circles.", ["circle"])
    write_unit(tmp_path, "circle")
    browser.open(tmp_path / "experiment.html")
    return browser


def test_the_page_loads_without_a_complaint_and_its_style_applies(page: Browser) -> None:
    assert page.complaints() == []
    assert page.evaluate("getComputedStyle(document.querySelector('.picture')).backgroundImage").startswith(
        'url("data:'
    )
    assert page.evaluate("getComputedStyle(document.querySelector('.mask')).opacity") == "0.75"
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth") is True


def test_a_picture_enlarges_steps_and_gives_the_focus_back(page: Browser) -> None:
    page.evaluate("document.querySelectorAll('.exemplars .tile')[2].click()")
    assert page.evaluate("[...document.querySelectorAll('.zoom.open')].map(z => z.id)") == ["z3"]
    page.press("ArrowRight")
    assert page.evaluate("document.querySelector('.zoom.open').id") == "z4"
    page.press("Tab")
    assert page.evaluate("document.querySelector('.zoom.open').contains(document.activeElement)") is True
    page.press("Escape")
    assert page.evaluate("document.querySelectorAll('.zoom.open').length") == 0
    assert page.evaluate("[...document.querySelectorAll('.tile')].indexOf(document.activeElement)") == 2
    page.evaluate(
        "document.querySelector('.strip a').dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))"
    )
    assert page.evaluate("document.querySelectorAll('.zoom.open').length") == 1
    page.evaluate("document.querySelector('.zoom.open .close').click()")
    assert page.evaluate("document.querySelectorAll('.zoom.open').length") == 0
    assert page.complaints() == []


def test_keys_take_the_masks_and_the_code_away(page: Browser) -> None:
    page.evaluate("document.documentElement.style.setProperty('transition', 'none')")
    page.press("m")
    page.press("c")
    assert page.evaluate("document.getElementById('whole').checked") is True
    assert page.evaluate("getComputedStyle(document.querySelector('pre.code')).display") == "none"
    page.press("c")
    assert page.evaluate("getComputedStyle(document.querySelector('pre.code')).display") == "block"


def test_without_the_script_a_picture_enlarges_by_its_anchor(page: Browser, tmp_path: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.call("Page.navigate", url=(tmp_path / "experiment.html").as_uri() + "#z2")
        root = page.call("DOM.getDocument")["root"]["nodeId"]
        node = page.call("DOM.querySelector", nodeId=root, selector="#z2")["nodeId"]
        page.call("CSS.enable")
        style = page.call("CSS.getComputedStyleForNode", nodeId=node)["computedStyle"]
        assert {"name": "display", "value": "grid"} in style
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)


def test_the_policy_stops_what_would_slip_through(page: Browser) -> None:
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit = 1\"><p style=\"color:red\">')"
    )
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.hit = 2'}))")
    assert page.evaluate("window.hit") is None
    assert len(page.complaints()) >= 3


def test_the_index_sorts_and_filters(tmp_path: Path, browser: Browser, new_run: Callable[..., Any]) -> None:
    for index, labels in ((2, ["zebra"]), (10, ["ant"]), (9, ["moth"])):
        run = new_run(tmp_path / "a" / "m" / "l" / str(index), UnitName(model="m", layer="l", index=index))
        run.reply("```python\nx()\n```")
        run.start("x()\n")
        run.exemplars(2)
        run.end()
        run.conclude("d", labels)
    rebuild(tmp_path, lambda unit: {2: "zebra"}.get(unit.index))
    browser.open(tmp_path / "index.html")
    names = "[...document.querySelectorAll('tbody tr:not([hidden]) .label:not(.truth)')].map(l => l.textContent)"
    assert browser.evaluate(names) == ["zebra", "moth", "ant"]
    browser.evaluate("document.querySelectorAll('thead button')[2].click()")
    assert browser.evaluate(names) == ["ant", "moth", "zebra"]
    browser.evaluate("document.querySelectorAll('thead button')[0].click()")
    browser.evaluate("document.querySelectorAll('thead button')[0].click()")
    assert browser.evaluate(names) == ["ant", "moth", "zebra"]
    assert browser.evaluate("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "descending"
    browser.evaluate("const f = document.getElementById('filter'); f.value = 'MO'; f.dispatchEvent(new Event('input'))")
    assert browser.evaluate(names) == ["moth"]
    browser.evaluate("const g = document.getElementById('filter'); g.value = ''; g.dispatchEvent(new Event('input'))")
    loaded = "Promise.all([...document.images].map(image => image.decode())).then(() => document.images.length)"
    assert browser.evaluate(loaded) == 6
    assert browser.complaints() == []


WORDS_IN_TWO = """[...document.querySelectorAll('.label')].flatMap((label) => {
  const range = document.createRange(), text = label.firstChild;
  return [...text.data.matchAll(/\\S+/g)].filter((word) => {
    range.setStart(text, word.index);
    range.setEnd(text, word.index + word[0].length);
    return word[0].length < 12 && range.getClientRects().length > 1;
  }).map(String);
})"""
TOO_WIDE = """[...document.querySelectorAll('main *')].filter((part) => part.offsetParent
  && part.getBoundingClientRect().right > document.documentElement.clientWidth + 1).length"""


@pytest.mark.parametrize("width", [390, 1000, 1070, 1400])
def test_the_index_keeps_words_whole_and_every_column_in_sight(
    width: int, tmp_path: Path, browser: Browser, new_run: Callable[..., Any]
) -> None:
    layers = ("l", "transformer.resblocks.11.mlp.c_proj", "or")
    for index, (layer, label) in enumerate(zip(layers, ("star", "y" * 400, "triangle or hexagon"), strict=True)):
        unit = UnitName(model="scene-neurons", layer=layer, index=index)
        run = new_run(tmp_path / "a" / "m" / layer / str(index), unit, agent="compatible:qwen3-vl-235b-a22b-instruct")
        run.reply("```python\nx()\n```")
        run.start("x()\n")
        run.exemplars(5)
        run.end()
        run.conclude("z" * 300, [label])
    rebuild(tmp_path, lambda _: "checkered triangle")
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    try:
        browser.open(tmp_path / "index.html")
        assert browser.evaluate(TOO_WIDE) == 0
        assert browser.evaluate(WORDS_IN_TWO) == []
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")
