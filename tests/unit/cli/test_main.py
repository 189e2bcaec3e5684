"""The command line as a person meets it: help, wrong words, exit codes. No command here gets as far as a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from maia.cli import flags
from maia.cli.ask import ask
from maia.cli.config import ADDRESSES, Config
from maia.cli.main import main
from maia.cli.run import run
from maia.services.exemplars.dataset import DEFAULT_SIZE

COMMANDS = (
    ["demo"], ["run"], ["ask"], ["subjects"], ["measure"], ["ablate"], ["up"], ["serve"], ["exemplars", "build"],
    ["report"], ["doctor"], ["sandbox", "run"], ["sandbox", "tiers"],
)  # fmt: skip
UNIT = ["--model", "scene-neurons", "--units", "mono=1"]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without settings, and no keys."""
    monkeypatch.chdir(tmp_path)
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "MAIA_COMPATIBLE_API_KEY", "MAIA_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_the_command_line_starts_without_heavy_libraries() -> None:
    heavy = ("torch", "grpc", "pydantic", "numpy", "scipy", "anthropic", "openai", "PIL", "asyncio")
    code = f"import sys, maia.cli.main; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_teaches_with_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "For example:" in " ".join(shown.split())
    assert f"maia {' '.join(command)}" in shown.partition("example:")[2]


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "measure" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rum"], "No such command 'rum'"),
        (["run", "--modle", "x"], "--modle"),
        (["run"], "--model"),
        (["run", "--model", "scene-neurons"], "--units"),
        (["run", "--model", "m", "--units", "mono"], "names no unit of its layer"),
        (["run", "--model", "m", "--unit_mode", "often"], "manual, from_file, random"),
        (["run", "--model", "m", "--unit-file-path", "gone.json"], "no unit file gone.json"),
        (["run", "--model", "m", "--unit-file-path", "x" * 300], "cannot be read: [Errno 36] File name too long"),
        (["run", "--model", "m", "--num_of_units", "0"], "at least 1"),
        (["run", "--max-rounds", "0", *UNIT], "--max-rounds: input should be"),
        (["run", "--max-rounds", "few", *UNIT], "'--max-rounds': Input should be a valid integer"),
        (["run", "--max-rounds", "few", *UNIT], "not 'few' (see maia run --help)"),
        (["run", "--agent", "replay:gone", *UNIT], "no readable journal at gone"),
        (["run", "--out", "text.png/x", *UNIT], "cannot write into text.png/x: text.png is no folder"),
        (["run", "--up", "--cache-dir", "text.png", *UNIT], "text.png is no folder; use another --cache-dir"),
        (["run", "--policy", "loose", *UNIT], "'restricted' or 'off'"),
        (["run", "--memory-mb", "1", *UNIT], "memory_mb"),
        (["run", "--agent", "nobody", *UNIT], "scripted, replay:DIR"),
        (["run", "--agent", "claude-x", *UNIT], "ANTHROPIC_API_KEY"),
        (["run", "--agent", "gpt-x", *UNIT], "OPENAI_API_KEY"),
        (["run", "--agent", "compatible:x", *UNIT], "--base-url"),
        (["run", "--task", "dream", *UNIT], "valid: class_bias, neuron_description, question, spurious_feature"),
        (["run", "--task", "question", *UNIT], "maia ask"),
        (["run", "--task-file", "gone.toml", *UNIT], "the task file gone.toml cannot be read: No such file"),
        (["run", "--task-file", "text.png", *UNIT], "the task file text.png is no TOML"),
        (["run", "--task", "class_bias", "--task-file", "gone.toml", *UNIT], "name two tasks"),
        (["ask"], "QUESTION"),
        (["ask", "Why mono:1?"], "--model"),
        (["ask", "--model", "scene-neurons", " "], "the question is empty"),
        (["ask", "--model", "scene-neurons", "Why circles?"], "the question names no unit"),
        (["ask", "--model", "scene-neurons", "Is mono:1 as or:2 is?"], "several units, mono=1, or=2"),
        (["ask", "--model", "scene-neurons", "--agent", "nobody", "Why mono:1?"], "scripted, replay:DIR"),
        (["run", "--config", "gone.toml", *UNIT], "gone.toml"),
        (["measure"], "PICTURE"),
        (["measure", "x.png"], "--model"),
        (["measure", "--model", "m", "x.png"], "--unit"),
        (["measure", "--model", "m", "--unit", "3", "x.png"], "layer3:12"),
        (["measure", "--model", "m", "--unit", "a:3", "gone.png"], "gone.png cannot be read: No such file"),
        (["measure", "--model", "m", "--unit", "a:3", "text.png"], "text.png is no picture to measure"),
        (
            ["measure", "--model", "m", "--unit", "a:3", "--pooling", "sum", "x.png"],
            "no --pooling 'sum'; valid: max, mean",
        ),
        (["ablate"], "PICTURE"),
        (["ablate", "x.png"], "--model"),
        (["ablate", "--model", "m", "x.png"], "--unit"),
        (["ablate", "--model", "m", "--unit", "a:3", "gone.png"], "gone.png cannot be read: No such file"),
        (["ablate", "--model", "m", "--unit", "a:3", "text.png"], "text.png is no picture to measure"),
        (["ablate", "--model", "m", "--unit", "a:3", "--hold", "off", "x.png"], "--hold 'off' is nothing to hold"),
        (["ablate", "--model", "m", "--unit", "a:3", "--hold", "-inf", "x.png"], "--hold '-inf' is nothing to hold"),
        (["ablate", "--model", "m", "--unit", "a:3", "--top", "0", "x.png"], "--top"),
        (["subjects", "a", "b"], "unexpected extra argument"),
        (["serve", "nothing"], "valid: subject, generation, editing, exemplars, description, sandbox"),
        (["run", "--sandbox-tier", "castle", *UNIT], "--sandbox-tier: input should be 'auto', 'jail'"),
        (["run", "--sandbox-address", "there", *UNIT], "'there' is no address"),
        (["run", "--sandbox-address", "192.0.2.1:7416", *UNIT], "not on this machine"),
        (["run", "--sandbox-address", "127.0.0.1:1", "--sandbox-tier", "jail", *UNIT], "leave out sandbox_tier"),
        (["sandbox", "run"], "FILE"),
        (["sandbox", "run", "gone.py"], "gone.py cannot be read: No such file"),
        (["sandbox", "run", "-", "-"], "give - once"),
        (["sandbox", "run", "."], "cannot be read: Is a directory"),
        (["sandbox", "run", "noise.py"], "noise.py is no UTF-8 text"),
        (["sandbox", "run", "long.py"], "long.py has more than 1,048,576 bytes"),
        (["sandbox", "run", "text.png", "gone.py"], "gone.py cannot be read"),
        (["sandbox", "run", "--tier", "castle", "text.png"], "--sandbox-tier: input should be 'auto', 'jail'"),
        (["sandbox", "run", "--policy", "loose", "text.png"], "'restricted' or 'off'"),
        (["sandbox", "run", "--wall-s", "0", "text.png"], "wall_s is 0"),
        (["sandbox", "run", "--memory-mb", "1", "text.png"], "memory_mb is 1"),
        (["sandbox", "run", "--seed", "-1", "text.png"], "--seed"),
        (["sandbox", "run", "--address", "there", "text.png"], "'there' is no address"),
        (["sandbox", "walk"], "walk"),
        (["report", "gone"], "no folder gone"),
        (["report", "."], "no journal under ."),
        (["exemplars", "forget"], "forget"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_answered_in_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "noise.py").write_bytes(b"x = '\xff'")
    (tmp_path / "long.py").write_text("#" * (1 << 20) + "#")
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert said in shown.err
    assert shown.out == ""


def test_flags_may_be_spelled_with_underscores(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--unit_mode", "from_file", "--unit_file_path", "gone.json", "--model", "m"]) == 2
    assert "no unit file gone.json" in capsys.readouterr().err


def test_the_help_names_the_defaults_that_hold() -> None:
    def shown(flag: object) -> str:
        return str(get_args(flag)[1].show_default)

    for name, address in ADDRESSES.items():
        assert shown(getattr(flags, f"{name.title()}Address")) == address
    fields = Config.model_fields
    for setting, flag in (
        ("policy", flags.Policy),
        ("sandbox_tier", flags.SandboxTier),
        ("allow_unisolated", flags.AllowUnisolated),
        ("wall_s", flags.WallSeconds),
        ("cpu_s", flags.CpuSeconds),
        ("memory_mb", flags.MemoryMb),
        ("output_bytes", flags.OutputBytes),
    ):
        default = fields[setting].default
        assert shown(flag) == (f"{default:g}" if isinstance(default, float) else str(default))
    assert shown(flags.DatasetSize) == str(DEFAULT_SIZE)
    for setting, parameter in (
        get_type_hints(run, include_extras=True) | get_type_hints(ask, include_extras=True)
    ).items():
        if setting in {"agent", "task", "max_rounds", "seed", "out"}:
            assert shown(parameter) == str(fields[setting].default)
