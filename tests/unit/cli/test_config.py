"""Where settings come from, and which wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from maia.cli.config import ADDRESSES, KEYS, Config, environment_without_keys, load_config
from maia.cli.errors import CommandError
from maia.orchestrator.agents.registry import KEY_VARIABLES
from maia.orchestrator.clients import SERVER_NAMES

SECRET = "sk-very-secret"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a maia.toml."""
    monkeypatch.chdir(tmp_path)


def config(flags: dict[str, object] | None = None, environment: dict[str, str] | None = None) -> Config:
    return load_config(flags or {}, environment or {})


def test_each_source_wins_over_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('max_rounds = 7\nagent = "from-file"\nseed = 3\n')
    environment = {"MAIA_AGENT": "from-environment", "MAIA_SEED": "4", "MAIA_CONFIG": str(file)}
    assert config().max_rounds == 25
    settings = config({"seed": 5, "agent": None}, environment)
    assert (settings.max_rounds, settings.agent, settings.seed) == (7, "from-environment", 5)


def test_a_file_in_the_folder_is_read_and_a_named_one_instead_of_it(tmp_path: Path) -> None:
    (tmp_path / "maia.toml").write_text("seed = 1")
    (tmp_path / "other.toml").write_text("max_rounds = 2")
    assert config().seed == 1
    other = config({"config": Path("other.toml")})
    assert (other.seed, other.max_rounds, other.config_file) == (0, 2, Path("other.toml"))


def test_tables_of_servers_may_stand_in_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "maia.toml").write_text('seed = 1\n[subject]\nmodel = "scene-neurons"\n[sandbox]\nmax_sessions = 3\n')
    assert config().seed == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "seed = 1\n\nmax_round = 3",
            r"^in maia\.toml, line 3: there is no setting 'max_round'; did you mean 'max_rounds'\?$",
        ),
        ("colour = 3", r"line 1: there is no setting 'colour'; valid: cache_dir"),
        ("seed = 1\n[subjects]\nmodel = 'x'", r"line 2: there is no table \[subjects\]; did you mean 'subject'\?"),
        ("max_rounds = 0", r"in maia\.toml, line 1: max_rounds: .* greater than or equal to 1, not 0"),
        ("seed = 1\nsubject_address = ['gpu1:7411', 'gpu2']", r"line 2: subject_address: 'gpu2' is no address"),
        ("subject_address = ['gpu1:7411', 'gpu1:7411']", r"gpu1:7411 stands there twice"),
        ('policy = "loose"', "'restricted' or 'off'"),
        ("max_rounds =", "no TOML"),
        (f'openai_api_key = "{SECRET}"', "set OPENAI_API_KEY"),
        ("subject = 3", "no setting 'subject'"),
        ("memory_mb = 1", "memory_mb is 1"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "maia.toml").write_text(text)
    with pytest.raises(CommandError, match=said) as caught:
        config()
    assert SECRET not in caught.value.message


@pytest.mark.parametrize("text", ['["gpu1:7411", "unix:/run/s.sock"]', '"gpu1:7411, unix:/run/s.sock"'])
def test_replicas_are_a_list_or_a_text_with_commas(tmp_path: Path, text: str) -> None:
    (tmp_path / "maia.toml").write_text(f"subject_address = {text}")
    found = config(environment={"MAIA_EDITING_ADDRESS": "dns:///edit:7413, 127.0.0.1:1"})
    assert found.address("subject") == "gpu1:7411,unix:/run/s.sock"
    assert found.address("editing") == "dns:///edit:7413,127.0.0.1:1"
    assert found.own_address("generation") == ADDRESSES["generation"]
    with pytest.raises(CommandError, match=r"subject_address names several servers .* --listen ADDRESS"):
        found.own_address("subject")


def test_a_task_file_of_a_later_place_stands_for_a_task_of_an_earlier_one_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    file = tmp_path / "maia.toml"
    file.write_text('task = "class_bias"')
    found = config({"config": file, "task_file": Path("own.toml")})
    assert (found.task, found.task_file) == ("neuron_description", Path("own.toml"))
    file.write_text('task_file = "own.toml"')
    found = config({"config": file, "task": "class_bias"})
    assert (found.task, found.task_file) == ("class_bias", None)
    assert config({"config": file}).task_file == Path("own.toml")
    with pytest.raises(CommandError, match="--task and --task-file name two tasks"):
        config({"task": "class_bias", "task_file": Path("own.toml")})


def test_a_wrong_variable_names_its_place() -> None:
    with pytest.raises(CommandError, match=r"^MAIA_MAX_ROUNDS: .*not 'many'"):
        config(environment={"MAIA_MAX_ROUNDS": "many"})
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        config(environment={"MAIA_CONFIG": "gone.toml"})


def test_an_empty_variable_is_not_set() -> None:
    settings = config(environment={"MAIA_AGENT": "", "OPENAI_API_KEY": ""})
    assert settings.agent == "scripted"
    assert settings.openai_api_key is None


def test_keys_come_from_the_environment_and_go_nowhere() -> None:
    settings = config(environment=dict.fromkeys(KEYS.values(), SECRET))
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == SECRET
    assert SECRET not in f"{settings!r} {settings.public()} {settings.model_dump_json()}"
    assert not set(KEYS) & set(settings.public())


def test_servers_get_an_environment_without_keys() -> None:
    given = {"PATH": "/bin", "MAIA_SUBJECT_MODEL": "x", **dict.fromkeys(KEYS.values(), SECRET)}
    assert environment_without_keys(given) == {"PATH": "/bin", "MAIA_SUBJECT_MODEL": "x"}


def test_the_sandbox_has_one_name_everywhere(tmp_path: Path) -> None:
    (tmp_path / "maia.toml").write_text('sandbox_tier = "docker"\npolicy = "off"\n')
    assert config().sandbox_tier == "docker"
    settings = config({"sandbox_tier": "none"}, {"MAIA_SANDBOX_TIER": "gvisor", "MAIA_ALLOW_UNISOLATED": "true"})
    assert (settings.sandbox_tier, settings.allow_unisolated, settings.policy) == ("none", True, "off")
    assert settings.public()["sandbox_tier"] == "none"


def test_names_agree_with_those_who_use_them() -> None:
    assert tuple(ADDRESSES) == SERVER_NAMES
    assert set(KEYS.values()) == {*KEY_VARIABLES.values(), "MAIA_TOKEN"}


def test_the_cache_follows_the_desktop_rules(tmp_path: Path) -> None:
    assert config(environment={"XDG_CACHE_HOME": "/var/x"}).cache_dir == Path("/var/x/maia")
    assert config(environment={"XDG_CACHE_HOME": "relative"}).cache_dir == Path("~/.cache/maia").expanduser()
    assert config({"cache_dir": "~/c"}).cache_dir == Path("~/c").expanduser()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        config().seed = 3
