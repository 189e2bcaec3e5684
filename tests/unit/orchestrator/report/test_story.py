"""The telling: what belongs to which round, in which order, from journals of any state."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup

from maia.orchestrator.events import UnitName
from maia.orchestrator.journal import FILE_NAME, JournalReader
from maia.orchestrator.report.gallery import Gallery
from maia.orchestrator.report.story import Block, Cards, Output, Story, tell

UNIT = UnitName(model="m", layer="l", index=1)
MakeRun = Callable[..., Any]


def told(folder: Path) -> Story:
    reader = JournalReader(folder)
    return tell(reader.events, Gallery(reader))


def blocks(story: Story) -> list[Block]:
    return [section for round_ in story.rounds for section in round_.sections if isinstance(section, Block)]


def test_a_believable_run(tmp_path: Path, investigated: MakeRun) -> None:
    investigated(tmp_path).conclude("d", ["l"])
    story = told(tmp_path)
    assert [round_.number for round_ in story.rounds] == [1, 2, 3, 4, 5, 6]
    assert [figure.activation for figure in story.exemplars][:3] == [9.4, 9.19, 8.98]
    measured = [[figure.activation for figure in round_.measured] for round_ in story.rounds]
    assert measured == [[], [9.12, 7.88, 1.21, 0.04], [], [3.4, 4.2, 2.9], [8.61, 3.3], []]
    assert [why for round_ in story.rounds for why, _ in round_.reminders] == ["no_code"]
    assert story.rounds[1].statements == ("the neuron responds to red things.", "it responds to circles of any colour.")
    ended = [block.ended.status for block in blocks(story) if block.ended]
    assert ended == ["ok", "ok", "exception", "wall_clock"]
    assert blocks(story)[1].warnings == ("'photo' is no word of the grammar and was left out of the drawing",)
    assert story.task.startswith("Which pictures")


def test_blocks_stand_where_the_reply_has_them(tmp_path: Path, new_run: MakeRun) -> None:
    run = new_run(tmp_path, UNIT)
    one, two = "x = 1\n", "print(x)\n\nprint('```')\n"
    run.reply(f"before\r\n```python\r\n{one}```\nbetween\n~~~~ py\n{two}~~~~\nafter")
    run.start(one)
    run.end()
    run.start(two)
    run.end()
    run.give_up()
    sections = told(tmp_path).rounds[0].sections
    assert [section if isinstance(section, Markup) else section.started.code for section in sections] == [
        "<p>before</p>",
        one,
        "<p>between</p>",
        two,
        "<p>after</p>",
    ]


def test_a_block_that_never_ran_stays_in_the_prose(tmp_path: Path, new_run: MakeRun) -> None:
    run = new_run(tmp_path, UNIT)
    run.reply("```python\nfirst()\n```\n```python\nsecond()\n```\n")
    run.start("first()\n")
    run.end("exception", "NameError: first")
    run.give_up()
    block, rest = told(tmp_path).rounds[0].sections
    assert isinstance(block, Block)
    assert rest == '<pre class="quoted">second()</pre>'


@pytest.mark.parametrize(
    ("items", "told_as"),
    [
        (["text"], ["text"]),
        (["note", "image"], [[("note", 1)]]),
        (["a", "image", "b", "image"], [[("a", 1), ("b", 2)]]),
        (["image", "a", "image", "b"], [[("a", 1), ("b", 2)]]),
        (["5.00", "image"], [[("", 1)]]),
        (["two\nlines", "image"], ["two\nlines", [("", 1)]]),
        (["image", "image", "a", "b"], [[("", 1), ("a", 2)], "b"]),
        (["head", "a", "image"], ["head", [("a", 1)]]),
    ],
)
def test_texts_find_their_pictures(tmp_path: Path, new_run: MakeRun, items: list[str], told_as: list[Any]) -> None:
    run = new_run(tmp_path, UNIT)
    run.reply("```python\nx()\n```")
    run.start("x()\n")
    images = [run.view(run.image({}, "circle"), 5.0) for item in items if item == "image"]
    left = iter(images)
    run.show(*(next(left) if item == "image" else item for item in items))
    run.end()
    run.give_up()
    (block,) = blocks(told(tmp_path))
    log: list[Any] = []
    for entry in block.log:
        if isinstance(entry, Cards):
            log.append([(card.caption, int(card.figure.zoom.removeprefix("z"))) for card in entry.cards])
        else:
            log.append(entry.text)
    first = min(number for entry in log if isinstance(entry, list) for _, number in entry) if images else 1
    shifted = [[(text, n - first + 1) for text, n in entry] if isinstance(entry, list) else entry for entry in log]
    assert shifted == told_as


def test_printed_pieces_are_one_text(tmp_path: Path, new_run: MakeRun) -> None:
    run = new_run(tmp_path, UNIT)
    run.reply("```python\nx()\n```")
    run.start("x()\n")
    run.print("a")
    run.print("b\n")
    run.show("shown")
    run.print("c")
    run.end()
    run.give_up()
    (block,) = blocks(told(tmp_path))
    assert block.log == [Output("ab\n", displayed=False), Output("shown", displayed=True), Output("c", displayed=False)]


def test_a_journal_that_ends_anywhere_is_told(tmp_path: Path, investigated: MakeRun) -> None:
    investigated(tmp_path).conclude("d", ["l"])
    lines = (tmp_path / FILE_NAME).read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines) + 1, 3):
        (tmp_path / FILE_NAME).write_bytes(b"".join(lines[:count]))
        story = told(tmp_path)
        assert len(story.exemplars) in (0, 15)
        assert len(story.rounds) <= 6
