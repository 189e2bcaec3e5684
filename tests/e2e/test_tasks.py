"""Every task from a command to its answer, without a key: the scripted agent ends in the form that is asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maia.orchestrator.events import RunStarted, UserMessage
from maia.orchestrator.journal import JournalReader

if TYPE_CHECKING:
    from tests.e2e.conftest import Maia

UNIT = ("--model", "scene-neurons", "--units", "mono=10")
CLASSIFIER = """
import torch
from torch import Tensor, nn

from maia.services.subject.backends.networks.from_python import CustomNetwork


class Reddish(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.red = nn.Conv2d(3, 1, 1, bias=False)
        self.red.weight.data = torch.tensor([1.0, -0.5, -0.5]).reshape(1, 3, 1, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        red = self.red(pictures).amax((1, 2, 3))
        return torch.stack([red, -red], dim=1)


def make() -> CustomNetwork:
    return CustomNetwork(Reddish(), classes=["red things", "other things"])
"""


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


def first_message(folder: Path) -> str:
    event = next(event for event in JournalReader(folder).events if isinstance(event, UserMessage))
    return " ".join(" ".join(getattr(part, "text", "") for part in event.parts).split())


def test_a_question_is_answered_plainly_and_the_same_again_from_what_is_there(maia: Maia) -> None:
    question = "Does mono:10 respond to red or to circles?"
    ended = maia("ask", "--up", "--model", "scene-neurons", question)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("This fixed plan reads no question")
    assert "responds to circle" in ended.out
    [folder] = [path.parent for path in (maia.folder / "results" / "question").rglob("journal.jsonl")]
    assert (result(folder)["answer"]["form"], result(folder)["question"]) == ("text", question)
    assert question in first_message(folder)
    started = JournalReader(folder).events[0]
    assert isinstance(started, RunStarted)
    assert (started.task, started.question) == ("question", question)
    assert question in (maia.folder / "results" / "index.html").read_text()

    again = maia("ask", "--up", "--model", "scene-neurons", question)
    assert again.code == 0, again.err
    assert again.out == ended.out
    assert "finished in results already" in again.err


def test_a_verdict_stands_beside_a_description_of_the_same_unit(maia: Maia) -> None:
    for task in ("spurious_feature", "neuron_description"):
        ended = maia("run", "--up", *UNIT, "--task", task)
        assert ended.code == 0, ended.err
        assert "finished" not in ended.err
    verdict, description = (
        maia.folder / "results" / folder / "scripted" / "scene-neurons" / "mono" / "10"
        for folder in ("spurious_feature", "")
    )
    assert (verdict / "label.txt").read_text() == "SELECTIVE\n"
    assert (description / "label.txt").read_text() == "circle\n"
    assert (result(verdict)["matched"], result(description)["matched"]) == (None, True)


def test_the_bias_of_a_class_is_asked_of_classes_only(maia: Maia) -> None:
    (maia.folder / "reddish.py").write_text(CLASSIFIER)
    path = os.pathsep.join(filter(None, (str(maia.folder), os.environ.get("PYTHONPATH"))))
    command = ("run", "--up", "--model", "python:reddish:make", "--task", "class_bias", "--units")
    refused = maia(*command, "red=0", PYTHONPATH=path)
    assert refused.code == 2
    assert refused.err.splitlines()[-1].startswith("error: the task class_bias asks about outputs of a classifier")
    assert "choose units of logits" in refused.err

    ended = maia(*command, "logits=0", PYTHONPATH=path)
    assert ended.code == 0, ended.err
    folder = maia.folder / "results" / "class_bias" / "scripted" / "python-reddish-make" / "logits" / "0"
    assert "the score of the class 'red things'" in first_message(folder)
    answer = result(folder)["answer"]
    assert answer["form"] == "bias"
    assert "red" in answer["contexts"][0]
