"""Where results lie."""

from pathlib import Path

from maia.orchestrator.events import UnitName
from maia.orchestrator.run import unit_folder

UNIT = UnitName("scene-neurons", "mono", 0)


def test_folders_of_agents_and_units_are_safe_file_names(tmp_path: Path) -> None:
    long = unit_folder(tmp_path, "replay:" + "/deep" * 100, UNIT)
    other = unit_folder(tmp_path, "replay:/other" + "/deep" * 100, UNIT)
    assert long != other
    long.mkdir(parents=True)
    assert unit_folder(tmp_path, "../../x", UnitName("../m", "a/b", 1)).is_relative_to(tmp_path)
    assert ".." not in unit_folder(tmp_path, "../../x", UnitName("../m", "a/b", 1)).parts
