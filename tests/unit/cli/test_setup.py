"""What a run refuses before anything starts, each in one line that says what to do."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from maia.cli.config import Config, load_config
from maia.cli.errors import CommandError
from maia.cli.investigation import Investigation, Request
from maia.cli.main import app, main
from maia.cli.progress import Progress
from maia.cli.setup import agent_of, check_names, task_of
from maia.orchestrator.agents.models import facts_of
from maia.orchestrator.events import BackboneReply, ToolCalled, UnitName
from maia.wire.errors import MaiaError

KEYS = {"ANTHROPIC_API_KEY": "sk-ant", "OPENAI_API_KEY": "sk-oai"}
URL = {"base_url": "http://127.0.0.1:1/v1"}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a maia.toml."""
    monkeypatch.chdir(tmp_path)


def config(**flags: object) -> Config:
    return load_config(flags, KEYS)


async def refusal_of(config: Config) -> str:
    with pytest.raises(MaiaError) as caught:
        await check_names(config)
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"budget": "token=5"}, "--budget: there is no budget 'token'; valid: tokens, usd, calls, pictures, minutes"),
        ({"batch_budget": "usd=much"}, "--batch-budget: the budget usd is 'much'; it must be a positive number"),
        ({"context_tokens": 5}, "--context-tokens: input should be greater than or equal to 10000, not 5"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_at_once(flags: dict[str, object], said: str) -> None:
    with pytest.raises(CommandError) as caught:
        config(**flags)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_budgets_may_stand_in_the_file_and_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "maia.toml").write_text('budget = "usd=2"\nprices = "~/prices.toml"\n')
    settings = load_config({}, {"MAIA_BATCH_BUDGET": "usd=50"})
    assert (settings.budget, settings.batch_budget) == ("usd=2", "usd=50")
    assert settings.prices == Path("~/prices.toml").expanduser()
    assert settings.public()["budget"] == "usd=2"


@pytest.mark.parametrize("flag", ["budget", "batch_budget"])
async def test_a_money_budget_needs_a_known_price(tmp_path: Path, flag: str) -> None:
    spends: dict[str, object] = {flag: "usd=2", "agent": "compatible:qwen", **URL}
    said = await refusal_of(config(**spends))
    assert said.startswith(f"--{flag.replace('_', '-')} usd=2 needs the price of compatible:qwen, which is not known")
    assert "--prices FILE" in said
    example = said[said.index("model = ") : said.index(", in US dollars")]
    file = tmp_path / "prices.toml"
    file.write_text(example)
    assert tomllib.loads(example)
    assert facts_of("compatible:qwen", file).price is not None
    await check_names(config(**spends, prices=file))
    await check_names(config(agent="compatible:qwen", budget="tokens=5", **URL))


async def test_the_describers_price_must_be_known_too() -> None:
    said = await refusal_of(config(agent="claude-opus-5-5", describer="gpt-99", budget="usd=2"))
    assert "needs the price of gpt-99" in said
    await check_names(config(agent="claude-opus-5-5", describer="gpt-5.1", budget="usd=2"))
    await check_names(config(agent="claude-opus-5-5", describer="server", budget="usd=2"))
    await check_names(config(agent="scripted", budget="usd=2"))


@pytest.mark.parametrize("name", ["nobody", "scripted", "replay:x", ""])
async def test_an_unknown_describer_is_refused_with_those_that_exist(name: str) -> None:
    said = await refusal_of(config(describer=name))
    assert said.startswith(f"there is no describer {name!r}; valid are agent, server, anthropic:NAME")


async def test_the_describers_key_and_address_are_asked_for_at_the_start() -> None:
    said = await refusal_of(
        load_config({"agent": "claude-opus-5-5", "describer": "gpt-5.1"}, {"ANTHROPIC_API_KEY": "k"})
    )
    assert said == "gpt-5.1 needs a key: set the environment variable OPENAI_API_KEY"
    said = await refusal_of(config(agent="claude-opus-5-5", describer="compatible:qwen"))
    assert "compatible:qwen needs the address of its server" in said
    await check_names(config(agent="local-llava", describer="compatible:qwen", **URL))
    await check_names(config(describer="compatible:qwen", describer_base_url="http://127.0.0.1:1/v1"))


async def test_a_price_file_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    assert "cannot be read" in await refusal_of(config(prices=tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("agent", "describer", "who"),
    [
        ("claude-opus-5-5", "agent", "claude-opus-5-5"),
        ("claude-opus-5-5", "server", None),
        ("scripted", "agent", None),
        ("replay:x", "agent", None),
        ("scripted", "gpt-5.1", "gpt-5.1"),
    ],
)
def test_who_describes(agent: str, describer: str, who: str | None) -> None:
    assert agent_of(config(agent=agent, describer=describer)).describer_name == who


def test_the_help_teaches_budgets_and_maias_own_flags_are_known() -> None:
    shown = " ".join(CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "400"}).output.split())
    for words in (
        "tokens=500000,usd=2,calls=200,pictures=300,minutes=30",
        "At 80 %",
        "--batch-budget",
        "--describer",
        "--prices",
        "--context-tokens",
        "--path2save",
        "--path2exemplars",
        "local-NAME",
    ):
        assert words in shown


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--engine", "ray", "--ray-address", "nonsense"), "'nonsense' is no address of a Ray cluster; give HOST:PORT"),
        (("--journal-store", "results"), "'results' is no address of a store; give one such as s3://BUCKET/FOLDER"),
        (("--engine", "rey"), "--engine: input should be 'local' or 'ray', not 'rey'"),
    ],
)
def test_where_units_run_is_refused_before_anything_starts(
    flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    assert main(["run", "--model", "scene-neurons", "--units", "mono=10", *flags]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_what_was_stopped_at_once_keeps_what_is_known_of_it() -> None:
    progress = Progress(Console(file=io.StringIO()))
    settings = config(agent="scripted")
    investigation = Investigation(settings, progress, Request([]), task_of(settings))
    at_work, begun, waiting = (UnitName("m", "l", index) for index in range(3))
    for unit in (at_work, begun):
        investigation.unit_started(unit)
    investigation.unit_event(
        at_work, BackboneReply(round=3, text="", model="m", seconds=1.0, usage={"input": 9, "output": 1}, at=75.0)
    )
    investigation.unit_event(at_work, ToolCalled(block=1, call=4, tool="t", arguments=[], digest="", at=80.0))
    investigation._note_interrupted([at_work, begun, waiting])
    result = investigation.results[at_work]
    assert (result.status, result.rounds, result.tool_calls, result.tokens) == ("interrupted", 3, 4, 10)
    assert (result.seconds, result.usd) == (80.0, None)
    assert investigation.results[begun].rounds == 0
    assert (investigation.not_begun, investigation.stopped) == (1, True)
    investigation.close()
