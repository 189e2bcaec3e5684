"""What is said of tiers that work, that do not, and that nobody should take."""

from __future__ import annotations

from pathlib import Path

import pytest

from maia.cli import isolation
from maia.cli.config import Config
from maia.cli.isolation import sandbox_rows, show_tiers, taken_by_auto
from maia.sandbox import Feature, TierReport

GOOD = (
    Feature("seccomp", enforced=True, detail="denied unless listed"),
    Feature("landlock", enforced=False, detail="no"),
)


def works(tier: str) -> TierReport:
    return TierReport(tier, available=True, features=GOOD, remedy="")


def lacks(tier: str) -> TierReport:
    missing = Feature("unshare(user)", enforced=False, detail=f"the tier {tier} is not available here: EPERM")
    return TierReport(tier, available=False, features=(missing,), remedy=f"sysctl -w {tier}=1\nor ask")


def machine(monkeypatch: pytest.MonkeyPatch, *working: str) -> None:
    """A machine on which these tiers work; the real probe is tested where it is."""

    async def probe_all(*, cache_dir: Path | None = None) -> tuple[TierReport, ...]:
        return tuple(
            works(tier) if tier in working else lacks(tier) for tier in ("jail", "gvisor", "docker", "landlock", "none")
        )

    monkeypatch.setattr(isolation, "probe_all", probe_all)


def config(**settings: object) -> Config:
    return Config.model_validate({"cache_dir": "/nowhere", **settings})


async def test_each_tier_says_what_holds_and_what_mends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, "docker", "landlock", "none")
    assert await show_tiers(config()) == 0
    shown = capsys.readouterr().out
    assert "✗   the tier jail is not available here: EPERM" in shown
    assert "·   sysctl -w jail=1" in shown
    assert "✓   seccomp: denied unless listed" in shown
    assert "·   landlock: no" in shown
    assert shown.endswith("auto takes docker.\n")


async def test_a_machine_without_isolation_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, "none")
    assert await show_tiers(config()) == 1
    assert "No tier isolates here" in capsys.readouterr().out
    rows = await sandbox_rows(config())
    assert [row.mark for row in rows] == ["bad", *["note"] * 4]
    assert "sysctl -w gvisor=1 or ask" in rows[2].detail


async def test_a_doctor_tells_the_chosen_tier_in_full_and_the_others_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "jail", "docker", "none")
    rows = await sandbox_rows(config())
    assert rows[0].detail == "sessions are isolated by the tier jail, the first that works here"
    assert [(row.mark, row.detail) for row in rows[1:3]] == [
        ("good", "seccomp: denied unless listed"),
        ("note", "landlock: no"),
    ]
    assert [row.detail.partition(":")[0] for row in rows[3:]] == ["gvisor", "docker", "landlock"]
    assert "as the settings say" in (await sandbox_rows(config(sandbox_tier="docker")))[0].detail
    broken = (await sandbox_rows(config(sandbox_tier="gvisor")))[0]
    assert broken.mark == "bad"
    assert "sysctl -w gvisor=1" in broken.detail


async def test_no_isolation_is_never_good(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, "jail", "none")
    assert (await sandbox_rows(config(sandbox_tier="none")))[0].mark == "bad"
    allowed = (await sandbox_rows(config(sandbox_tier="none", allow_unisolated=True)))[0]
    assert (allowed.mark, "nothing is isolated" in allowed.detail) == ("note", True)


async def test_a_host_elsewhere_that_does_not_answer() -> None:
    (row,) = await sandbox_rows(config(sandbox_address="127.0.0.1:1"))
    assert row.mark == "bad"
    assert "maia serve sandbox" in row.detail


def test_auto_takes_the_first_that_works() -> None:
    assert taken_by_auto([works("none"), works("landlock"), lacks("jail"), works("gvisor")]) == "gvisor"
    assert taken_by_auto([works("none")]) == ""
