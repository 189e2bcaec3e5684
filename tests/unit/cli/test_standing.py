"""Where a unit stands."""

from maia.cli.standing import Standing
from maia.orchestrator.events import BackboneReply, BlockStarted, ToolCalled, ToolReturned, UnitName, UserMessage

UNIT = UnitName("scene-neurons", "mono", 3)
REPLY = BackboneReply(round=2, text="Let us see.", model="m", seconds=0.1)


def test_what_is_waited_for_follows_from_the_events() -> None:
    standing = Standing(UNIT, "1/2", max_rounds=5)
    seen = []
    for event in (
        UserMessage(round=0, why="task", parts=[]),
        REPLY,
        BlockStarted(round=2, block=1, code=""),
        ToolCalled(block=1, call=1, tool="tools.text2image", arguments=[], digest=""),
        ToolReturned(call=1, seconds=0.1),
    ):
        standing.note(event)
        seen.append((standing.round_text, standing.doing))
    assert seen == [
        ("", "waiting for the agent"),
        ("round 2 of 5", "reading the reply"),
        ("round 2 of 5", "running code"),
        ("round 2 of 5", "tools.text2image"),
        ("round 2 of 5", "running code"),
    ]
