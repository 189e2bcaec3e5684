"""Settings of a server that are wrong: one line, with the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from maia.wire.errors import InvalidRequestError
from maia.wire.settings import ServerSettings, load_settings


def load(file: Path, *flags: str) -> ServerSettings:
    return load_settings(ServerSettings, "subject", ["--config", str(file), *flags], program="p")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed = 1\n\n[subject]\nlog_lvel = 'info'\n",
         r"^in .*lab\.toml, line 4: the table \[subject\] has no setting 'log_lvel'; did you mean 'log_level'\?$"),
        ("[subject]\ncolour = 1", r"line 2: the table \[subject\] has no setting 'colour'; valid: listen, drain_s"),
        ("[subject]\n\ndrain_s = -1", r"^settings of the subject server: in .*lab\.toml, line 3: drain_s: .*got -1"),
        ("subject = 3", "subject is no table"),
        ("[subject", r"lab\.toml is no TOML: Expected"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_in_one_line_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(text)
    with pytest.raises(InvalidRequestError, match=said) as caught:
        load(file)
    assert caught.value.reason == "SETTING_INVALID"
    assert "\n" not in caught.value.message


def test_tables_of_others_are_left_to_them_and_flags_win(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text("colour = 1\n[generation]\ncolour = 2\n[subject]\ndrain_s = 3\nlog_format = 'json'\n")
    assert (load(file).drain_s, load(file).log_format) == (3, "json")
    assert load(file, "--drain-s", "4").drain_s == 4
    with pytest.raises(InvalidRequestError, match=r"^settings of the subject server: drain_s: .*got '-4'"):
        load(file, "--drain-s", "-4")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"none\.toml cannot be read: .*No such file"):
        load(tmp_path / "none.toml")
