"""Findings: typed, and shown in a notebook whatever a model has written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.orchestrator.report.conftest import Run, investigate

from maia.orchestrator.answers import Answer, Bias, Labels, Verdict, Words
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import UnitName
from maia.orchestrator.findings import Finding
from maia.orchestrator.report import UnitResult, collect

UNIT = UnitName(model="scenes-cnn", layer="layer3", index=12)


def found(folder: Path, answer: Answer | None = None) -> Finding:
    investigate(folder).answer(answer or Labels("Circles.", ("circle", "disc")))
    return Finding(collect(folder))


@pytest.mark.parametrize(
    ("answer", "labels", "description"),
    [
        (Labels("Circles.", ("circle", "disc")), ("circle", "disc"), "Circles."),
        (Bias("Low on snow.", ("snow",)), ("snow",), "Low on snow."),
        (Bias("None was found."), (), "None was found."),
        (Verdict("SPURIOUS", "It follows the water."), ("SPURIOUS",), "It follows the water."),
        (Words("To ties."), (), "To ties."),
    ],
    ids=str,
)
def test_each_form_of_an_answer_is_typed_and_shown(
    tmp_path: Path, answer: Answer, labels: tuple[str, ...], description: str
) -> None:
    finding = found(tmp_path, answer)
    assert (finding.unit, finding.status, finding.reason) == (UNIT, "concluded", "")
    assert finding.answer == answer
    assert type(finding.answer) is type(answer)
    assert (finding.labels, finding.description) == (labels, description)
    shown = finding._repr_html_()
    for text in (str(UNIT), *labels, description):
        assert text in shown
    assert f"{UNIT}: </b>" not in shown


def test_exemplars_are_whole_pictures_with_activations_highest_first(tmp_path: Path) -> None:
    finding = found(tmp_path)
    activations = [exemplar.activation for exemplar in finding.exemplars]
    assert activations == [round(9.4 - 0.21 * rank, 2) for rank in range(15)]
    first = finding.exemplars[0].picture
    assert (first.mode, first.size) == ("RGB", (80, 80))
    # The journal has the masked view of it as well, which is dark in its corners.
    assert min(first.getpixel((0, 0))) > 140  # type: ignore[type-var, operator, arg-type]  # of an RGB picture
    shown = finding._repr_html_()
    assert shown.count("<img ") == 8
    assert re.findall(r"<figcaption>(.*?)</figcaption>", shown) == [f"{value:.2f}" for value in activations[:8]]
    assert finding.usage["cache_read"] > 0
    assert finding.page == tmp_path / "experiment.html"


def test_without_exemplars_there_are_none(tmp_path: Path) -> None:
    run = Run(tmp_path, UNIT)
    run.reply("[DESCRIPTION]: Circles.\n[LABEL 1]: circle")
    run.conclude("Circles.", ["circle"])
    finding = Finding(collect(tmp_path))
    assert finding.exemplars == ()
    assert "<img" not in finding._repr_html_()


def test_what_a_model_writes_is_text_in_a_notebook(tmp_path: Path) -> None:
    hostile = '<script>alert(1)</script><img src=x onerror="alert(2)">\u202egnp'
    shown = found(tmp_path, Labels(f"A & b\n{hostile}", (hostile,)))._repr_html_()
    assert "<script" not in shown
    assert "onerror=&quot;" in shown
    assert "A &amp; b<br>&lt;script&gt;" in shown
    assert "\u202e" not in shown
    assert re.findall(r"<(\w+)", shown.partition("<figure")[0]) == ["div", "b", "p", "br", "div"]


@pytest.mark.parametrize(
    ("status", "reason"), [("paused", "<b>is down</b>"), ("invalid", "401"), ("no_conclusion", "")]
)
def test_what_is_no_finding_says_so_instead(tmp_path: Path, status: Any, reason: str) -> None:
    run = investigate(tmp_path)
    if status == "no_conclusion":
        run.give_up()
    else:
        run.stop(status, reason)
    finding = Finding(collect(tmp_path))
    assert (finding.status, finding.answer, finding.labels) == (status, None, ())
    shown = finding._repr_html_()
    assert f"<p>{status.replace('_', ' ')}: " in shown
    assert "<b>is down" not in shown
    assert "<img" not in shown
    assert len(finding.exemplars) == 15  # the agent had been given them all the same


def test_a_unit_that_never_began_has_no_journal_and_no_pictures(tmp_path: Path) -> None:
    finding = Finding(UnitResult(tmp_path / "none", UNIT, "scripted", "unfinished", reason="it was not begun"))
    assert (finding.exemplars, finding.answer) == ((), None)
    assert "unfinished: it was not begun" in finding._repr_html_()


def test_a_picture_that_is_missing_is_named_and_the_finding_is_shown_without(tmp_path: Path) -> None:
    finding = found(tmp_path)
    (tmp_path / finding.result.exemplars[0]).unlink()
    with pytest.raises(JournalError, match="cannot be read: No such file"):
        _ = finding.exemplars
    shown = finding._repr_html_()
    assert "circle; disc" in shown
    assert "cannot be read: No such file" in shown


def test_importing_the_package_loads_neither_grpc_nor_a_vendors_sdk() -> None:
    heavy = "('grpc', 'google.protobuf', 'anthropic', 'openai', 'pydantic', 'numpy', 'PIL')"
    code = f"import sys, maia.orchestrator as m; dir(m); print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_name_that_the_package_promises_is_there() -> None:
    import maia.orchestrator as package

    assert set(package.__all__) == set(package._HOME)
    assert {name for name in package.__all__ if not hasattr(package, name)} == set()
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'investigates'"):
        _ = package.investigates  # type: ignore[attr-defined]
