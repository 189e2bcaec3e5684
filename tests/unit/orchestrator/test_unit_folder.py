"""Where results lie."""

from pathlib import Path

from maia.orchestrator.events import UnitName
from maia.orchestrator.run import unit_folder
from maia.orchestrator.tasks import load_task

UNIT = UnitName("scene-neurons", "mono", 0)


def test_folders_of_agents_and_units_are_safe_file_names(tmp_path: Path) -> None:
    long = unit_folder(tmp_path, "replay:" + "/deep" * 100, UNIT)
    other = unit_folder(tmp_path, "replay:/other" + "/deep" * 100, UNIT)
    assert long != other
    long.mkdir(parents=True)
    assert unit_folder(tmp_path, "../../x", UnitName("../m", "a/b", 1)).is_relative_to(tmp_path)
    assert ".." not in unit_folder(tmp_path, "../../x", UnitName("../m", "a/b", 1)).parts


def test_each_task_has_its_own_folders_but_the_first(tmp_path: Path) -> None:
    plain = unit_folder(tmp_path, "scripted", UNIT)
    assert unit_folder(tmp_path, "scripted", UNIT, load_task("neuron_description")) == plain
    assert unit_folder(tmp_path, "scripted", UNIT, load_task("class_bias")).relative_to(tmp_path / "class_bias") == (
        plain.relative_to(tmp_path)
    )
    asked = unit_folder(tmp_path, "scripted", UNIT, load_task("question", question="../Ties/../or ..?"))
    assert asked.relative_to(tmp_path).parts[:1] == ("question",)
    assert len(asked.relative_to(tmp_path).parts) == 6
    assert ".." not in asked.parts
