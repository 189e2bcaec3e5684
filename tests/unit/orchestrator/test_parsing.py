"""Replies as models really write them, and what the loop reads in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.orchestrator.answers import FORMS, Form, Labels
from maia.orchestrator.parsing import parse_reply

CONCLUSION = "[DESCRIPTION]: It likes red.\n[LABEL 1]: red\n"

BLOCKS = {
    "one block": ("Try this.\n```python\nx = 1\n```\n", ["x = 1\n"]),
    "two blocks in order": ("```python\na = 1\n```\nthen\n```py\nb = 2\n```", ["a = 1\n", "b = 2\n"]),
    "upper-case info": ("```Python\nx = 1\n```", ["x = 1\n"]),
    "info with attributes": ('```python title="a"\nx = 1\n```', ["x = 1\n"]),
    "tildes": ("~~~python\nx = 1\n~~~", ["x = 1\n"]),
    "longer fence around a shorter one": (
        "````python\ns = '''\n```\n'''\n````",
        ["s = '''\n```\n'''\n"],
    ),
    "tildes inside backticks": ("```python\ns = '''\n~~~\n'''\n```", ["s = '''\n~~~\n'''\n"]),
    "closing fence may be longer": ("```python\nx = 1\n`````", ["x = 1\n"]),
    "windows line ends": ("```python\r\nx = 1\r\n```\r\n", ["x = 1\n"]),
    "indented by three": ("   ```python\nx = 1\n   ```", ["x = 1\n"]),
    "in a list, indented": ("1. Measure.\n    ```python\n    if x:\n        y = 1\n    ```", ["if x:\n    y = 1\n"]),
    "a deeper fence inside a string": ("```python\ns = '''\n    ```\n'''\n```", ["s = '''\n    ```\n'''\n"]),
    "less indented than its fence": ("  ```python\n  a = 1\nb = 2\n  ```", ["a = 1\nb = 2\n"]),
    "no info but Python": ("```\nprint(system.layer)\n```", ["print(system.layer)\n"]),
    "no info and no Python": ("```\nactivation: 3.2\n```", []),
    "no info, a bare word": ("```\nred\n```", []),
    "no info beside a Python block is output": ("```python\nx = 1\n```\n```\nprint(1)\n```", ["x = 1\n"]),
    "other languages are prose": ('```bash\nls\n```\n```json\n{"a": 1}\n```', []),
    "inline code is prose": ("Use `print(1)` or ```print(2)``` here.", []),
    "empty block": ("```python\n\n```", []),
    "broken code still runs, to show its error": ("```python\nprint(\n```", ["print(\n"]),
    "no code": ("I think it is red.", []),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("reply", "blocks"), BLOCKS.values(), ids=BLOCKS.keys())
def test_blocks(reply: str, blocks: list[str]) -> None:
    assert list(parse_reply(reply).blocks) == blocks


def test_an_open_block_does_not_run_and_is_noticed() -> None:
    parsed = parse_reply("```python\nx = 1\n```\nnext\n```python\nfor i in ran")
    assert parsed.blocks == ("x = 1\n",)
    assert parsed.unclosed


CONCLUSIONS = {
    "plain": (CONCLUSION, "It likes red.", ("red",)),
    "bold tags": ("**[DESCRIPTION]**: It likes red.\n**[LABEL 1]:** red", "It likes red.", ("red",)),
    "heading": ("### [DESCRIPTION]\nIt likes red.\n### [LABEL 1]\nred", "It likes red.", ("red",)),
    "lower case": ("[description]: a\n[label 1]: b", "a", ("b",)),
    "several labels": ("[DESCRIPTION]: a\n[LABEL 1]: b\n[LABEL 2]: c or d", "a", ("b", "c or d")),
    "number missing": ("[DESCRIPTION]: a\n[LABEL]: b", "a", ("b",)),
    "several lines": ("[DESCRIPTION]: a\n\nand more\n[LABEL 1]: b\nThat is all.", "a\n\nand more", ("b",)),
    "quoted label with a stop": ('[DESCRIPTION]: a\n[LABEL 1]: "red circle".', "a", ("red circle",)),
    "label alone": ("[LABEL 1]: b", "", ("b",)),
    "description alone": ("[DESCRIPTION]: a", "a", ()),
    "in a list": ("- [DESCRIPTION]: a\n- [LABEL 1]: b", "a", ("b",)),
    "in a numbered list": ("1. **[DESCRIPTION]:** a\n2. **[LABEL 1]:** b", "a", ("b",)),
    "in one line": (
        "[DESCRIPTION]: It likes red. **[LABEL 1]:** red [LABEL 2]: crimson",
        "It likes red.",
        ("red", "crimson"),
    ),
    "no colons": ("[DESCRIPTION] a\n[LABEL 1] b", "a", ("b",)),
    "labels first": ("[LABEL 1]: b\n[DESCRIPTION]: a", "a", ("b",)),
    "given twice, the last counts": (
        "[DESCRIPTION]: draft\n[LABEL 1]: x\n[LABEL 2]: z\nBetter:\n[DESCRIPTION]: a\n[LABEL 1]: b",
        "a",
        ("b",),
    ),
    "a label given twice": ("[DESCRIPTION]: a\n[LABEL 1]: x\n[LABEL 1]: b", "a", ("b",)),
    "labels without numbers": ("[DESCRIPTION]: a\n[LABEL]: b\n[LABEL]: c", "a", ("b", "c")),
    "in a fence of its own": ("Done.\n```\n[DESCRIPTION]: a\n[LABEL 1]: b\n```", "a", ("b",)),
    "in a fence with a language": ("```text\n[DESCRIPTION]: a\n[LABEL 1]: b\n```", "a", ("b",)),
    "in a fence that was never closed": ("```\n[DESCRIPTION]: a\n[LABEL 1]: b", "a", ("b",)),
    "a sentence about tags at the start of a line": (
        "[DESCRIPTION] and [LABEL 1] follow.",
        "and [LABEL 1] follow.",
        (),
    ),
    "after code": ("```python\nx = 1\n```\n" + CONCLUSION, "It likes red.", ("red",)),
}


@pytest.mark.parametrize(("reply", "description", "labels"), CONCLUSIONS.values(), ids=CONCLUSIONS.keys())
def test_conclusions(reply: str, description: str, labels: tuple[str, ...]) -> None:
    conclusion = parse_reply(reply).conclusion
    assert isinstance(conclusion, Labels)
    assert conclusion.description == description
    assert conclusion.labels == labels
    assert conclusion.complete == bool(description and labels)


def test_tags_inside_code_are_no_conclusion() -> None:
    assert parse_reply("```python\nprint('[DESCRIPTION]: x [LABEL 1]: y')\n```").conclusion is None


@pytest.mark.parametrize(
    "reply",
    [
        "I will conclude with [DESCRIPTION] and [LABEL 1] once I have finished.",
        "When done I give [DESCRIPTION]: and [LABEL 1]: as you asked.",
        "```python\nx = 1\n```\n```\n[DESCRIPTION]: my guess\n[LABEL 1]: red\n```",
        "```python\n[DESCRIPTION]: a\n[LABEL 1]: b\n```",
    ],
)
def test_talk_about_a_conclusion_is_none(reply: str) -> None:
    assert parse_reply(reply).conclusion is None


def test_a_conclusion_in_an_open_fence_is_no_cut_code() -> None:
    assert not parse_reply("```\n[DESCRIPTION]: a\n[LABEL 1]: b").unclosed
    assert parse_reply("```\nfor i in ran").unclosed


@pytest.mark.parametrize(
    "piece", ["*", "* ", "#", " ", "[LABEL ", "[LABEL 1]: ", "`", "~~~\n", "1. ", "[", "[DESCRIPTION]"]
)
@pytest.mark.parametrize("start", ["", "[DESCRIPTION]: ", "[LABEL", "```\n"])
def test_a_model_that_got_stuck_is_read_in_linear_time(start: str, piece: str) -> None:
    # With quadratic time this takes minutes, and the test run is killed; with linear time it takes none.
    assert parse_reply(start + piece * (400_000 // len(piece))).blocks == ()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "piece",
    [
        "[VERDICT]: ",
        "[VERDICT]: x\n",
        "[REASONING]: x\n",
        "[BIAS]: x\n[CONTEXT 1]: y\n",
        "[CONTEXT 1]: ",
        "\n",
        "-",
        "<",
        "1-",
    ],
)
@pytest.mark.parametrize(
    "start", ["", "[VERDICT]: SPURIOUS ", "[BIAS]: ", "[CONTEXT]: a\n[BIAS]: ", "[ANSWER]: <", "1. ~~~"]
)
def test_so_is_one_that_got_stuck_in_another_form(start: str, piece: str, form: Form) -> None:
    assert parse_reply(start + piece * (200_000 // len(piece)), form).blocks == ()


@given(st.text(alphabet=st.sampled_from("`~ \npython[]LABELDESCRIPTION1:*x=()'"), max_size=200))
def test_no_text_breaks_the_parser(text: str) -> None:
    parsed = parse_reply(text)
    assert all(block.strip() for block in parsed.blocks)


@given(st.lists(st.text(alphabet="abc=1 \n()'\"#", min_size=1, max_size=40).filter(str.strip), max_size=4))
def test_fenced_code_comes_back_as_it_was_written(codes: list[str]) -> None:
    reply = "\n".join(f"prose\n```python\n{code}\n```" for code in codes)
    assert list(parse_reply(reply).blocks) == [f"{code}\n" for code in codes]
