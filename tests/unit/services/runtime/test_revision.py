from pathlib import Path

from maia.services._runtime.revision import revision_of


def test_a_revision_changes_with_contents_names_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "a.py").write_text("x = 1")
    first = revision_of([folder])
    (folder / "notes.txt").write_text("no code")
    assert revision_of([folder]) == first
    (folder / "a.py").write_text("x = 2")
    second = revision_of([folder])
    (folder / "a.py").rename(folder / "b.py")
    assert len({first, second, revision_of([folder])}) == 3
    (folder / "b.py").rename(folder / "a.py")
    (folder / "a.py").write_text("x = 1")
    assert revision_of([folder]) == first
