"""Replays of journals."""

from pathlib import Path

import pytest

from maia.orchestrator.agents.registry import open_backbone
from maia.orchestrator.agents.settings import BackboneKeys
from maia.orchestrator.conversation import Message, Text, TokenUsage
from maia.orchestrator.errors import BackboneError, JournalError
from maia.orchestrator.events import BackboneReply, BlockOutput
from maia.orchestrator.journal import JournalWriter

TASK = Message("user", (Text("task"),))


def journal(folder: Path, *texts: str) -> Path:
    with JournalWriter(folder) as writer:
        for number, text in enumerate(texts, 1):
            writer.append(
                BackboneReply(round=number, text=text, model="m", seconds=1.0, usage={"input": 5}, stop_reason="end")
            )
            writer.append(BlockOutput(block=number, text="between"))
    return folder


def conversation(*replies: str) -> list[Message]:
    turns = [(Message("assistant", (Text(reply),)), Message("user", (Text("results"),))) for reply in replies]
    return [TASK, *(message for turn in turns for message in turn)]


async def test_the_nth_reply_answers_a_conversation_of_n_replies_in_any_order(tmp_path: Path) -> None:
    backbone = open_backbone(f"replay:{journal(tmp_path, 'one', '', 'three')}", keys=BackboneKeys())
    assert (await backbone.reply("s", conversation("one", "(empty reply)"))).text == "three"
    first = await backbone.reply("s", conversation())
    assert (first.text, first.model, first.stop_reason) == ("one", "m", "end")
    assert first.usage == TokenUsage(), "a replay costs nothing"
    assert (await backbone.reply("s", conversation("one"))).text == ""
    assert backbone.name == f"replay:{tmp_path}"
    await backbone.aclose()


async def test_after_the_last_reply_it_says_so(tmp_path: Path) -> None:
    backbone = open_backbone(f"replay:{journal(tmp_path, 'one')}", keys=BackboneKeys())
    with pytest.raises(BackboneError, match=f"{tmp_path} holds 1 replies") as caught:
        await backbone.reply("s", conversation("one"))
    assert not caught.value.transient


def test_a_folder_without_replies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no readable journal"):
        open_backbone(f"replay:{tmp_path / 'absent'}", keys=BackboneKeys())
    with pytest.raises(JournalError, match="holds no reply"):
        open_backbone(f"replay:{journal(tmp_path)}", keys=BackboneKeys())
