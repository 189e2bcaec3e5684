"""A batch on Ray, without Ray: the board, the sums, and what is said when something is not as it must be."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from pydantic import SecretStr

from maia.orchestrator.agents.settings import BackboneKeys
from maia.orchestrator.budget import BatchBudget, Budget, Ledger, Spending
from maia.orchestrator.clients import Addresses
from maia.orchestrator.events import ToolCalled, UnitName
from maia.orchestrator.ray_batch import Cluster, _not_shared, _settle, run_ray_batch
from maia.orchestrator.ray_task import STOP, Asked, Board, UnitTask
from maia.orchestrator.run import RunSettings
from maia.orchestrator.wiring import AgentSettings, SandboxSettings
from maia.wire.errors import InvalidRequestError, PreconditionError

UNIT = UnitName("m", "l", 3)
KEY = "sk-very-secret"
AGENT = AgentSettings("claude-opus-5-5", keys=BackboneKeys(anthropic=SecretStr(KEY)))


def cluster(tmp_path: Path, address: str = "local") -> Cluster:
    return Cluster(Addresses.local(), AGENT, SandboxSettings(tmp_path), address)


def test_a_report_that_comes_twice_is_heard_once() -> None:
    board = Board()
    assert board.report("u", "first", 0, [b"1", b"2"]) == ""
    assert board.report("u", "first", 0, [b"1", b"2", b"3"]) == ""
    assert board.look(pause="", stop=False) == [("u", b"1"), ("u", b"2"), ("u", b"3")]
    assert board.report("u", "first", 0, [b"1"]) == ""
    assert board.report("u", "first", 3, [b"4"]) == ""
    board.report("u", "second", 0, [b"5"])  # after the first has died
    assert board.look(pause="", stop=False) == [("u", b"4"), ("u", b"5")]
    assert board.look(pause="", stop=False) == []


def test_the_board_passes_pause_and_stop_on() -> None:
    board = Board()
    board.look(pause="paused by the user", stop=False)
    assert board.report("u", "w", 0, []) == "paused by the user"
    board.look(pause="", stop=False)
    assert board.report("u", "w", 0, []) == "paused by the user"
    board.look(pause="paused by the user", stop=True)
    assert board.report("u", "w", 0, []) == STOP


def test_what_a_dead_worker_spent_is_counted_once() -> None:
    batch = BatchBudget(Budget(calls=10))
    before = Spending(Counter(input=5), 1.0, calls=2)
    batch.add(before)
    ledger = Ledger(Budget(), batch, before)
    ledger.note(ToolCalled(block=1, call=3, tool="t", arguments=None, digest=""))
    _settle(ledger, Spending(Counter(input=9, output=1), 1.5, calls=6, pictures=4))
    assert batch.spending == Spending(Counter(input=9, output=1), 1.5, calls=6, pictures=4)


def test_a_price_that_is_not_known_stays_so() -> None:
    batch = BatchBudget()
    _settle(Ledger(Budget(), batch), Spending(Counter(input=1), None))
    assert batch.spending.usd is None


def test_no_key_shows_where_a_task_is_shown(tmp_path: Path) -> None:
    asked = Asked(Addresses.local(), AGENT, SandboxSettings(tmp_path), RunSettings("claude-opus-5-5", tmp_path))
    assert KEY not in repr(asked)
    assert KEY not in repr(UnitTask.of("u", KEY.encode()))


def test_a_folder_that_is_not_shared_is_found_out(tmp_path: Path) -> None:
    end = _not_shared(tmp_path)
    assert (end.why, end.reason) == ("invalid", "OUT_NOT_SHARED")


async def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PreconditionError, match=r"pip install 'maia\[ray\]'") as caught:
        await run_ray_batch([UNIT], cluster(tmp_path), RunSettings("scripted", tmp_path), jobs=1)
    assert caught.value.reason == "EXTRA_MISSING"


async def test_what_is_no_address_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with pytest.raises(InvalidRequestError) as caught:
        await run_ray_batch([UNIT], cluster(tmp_path, "nonsense"), RunSettings("scripted", tmp_path), jobs=1)
    assert caught.value.reason == "RAY_ADDRESS_INVALID"
