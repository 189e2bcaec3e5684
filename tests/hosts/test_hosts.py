"""Orchestrator, two subject replicas and a sandbox host, each on a host of its own, over links that do not hold.

The other servers are on the orchestrator's host. Everything between hosts goes over mutual TLS. All tests share one set
of servers; each leaves them and the links as it found them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from tests.hosts.lab import SLOW_SANDBOX, SUBJECT_PORT, Lab
from tests.hosts.namespaces import Link, name_hosts, namespace, network, process, why_not

from maia.orchestrator.events import Finished, Resumed, Stopped, ToolCalled, ToolReturned
from maia.orchestrator.journal import JournalReader

HOSTS: Final = ("subject1", "subject2", "sandbox")
UNITS: Final = (12, 13)
TOLERANCE: Final = 0.01
"""Of activations, which are rounded to two decimals: what shares a batch changes a float's last bits."""

PATIENCE_S: Final = 150.0


@pytest.fixture(scope="module")
def links() -> Iterator[dict[str, Link]]:
    if reason := why_not():
        pytest.skip(reason)
    with network(HOSTS) as made:
        yield made


@pytest.fixture(scope="module")
def lab(links: dict[str, Link], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(stack, tmp_path_factory.mktemp("lab"), links)


@pytest.fixture(scope="module")
def calm(lab: Lab) -> Path:
    """Results of a run that nothing disturbs."""
    assert lab.run("calm", UNITS).wait(PATIENCE_S) == 0, lab.told("calm")
    assert len(found(lab.folder / "calm")) == len(UNITS)
    return lab.folder / "calm"


def test_a_link_is_cut_throttled_and_mended(links: dict[str, Link]) -> None:
    link, port = links["sandbox"], 4000
    serve = f"import socket; s = socket.create_server(('{link.address}', {port})); print('ready', flush=True)\n"
    serve += "while True:\n c, _ = s.accept(); c.sendall(b'x' * 200_000); c.close()"
    fetch = f"import socket; s = socket.create_connection(('{link.address}', {port}), 1); s.settimeout(20)\n"
    fetch += "n = 0\nwhile data := s.recv(65536): n += len(data)\nprint(n)"

    def fetched() -> str:
        command = ["ip", "netns", "exec", namespace("middle"), sys.executable, "-c", fetch]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]

    with process("sandbox", [sys.executable, "-c", serve], os.environ, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        assert fetched() == "200000"
        link.cut()
        assert "unreachable" in fetched()
        link.mend()
        link.swallow()
        assert fetched() == "TimeoutError: timed out"
        link.deliver()
        link.throttle(2_000)
        assert fetched() == "200000"
        assert link.throttled_bytes() > 0
        link.unthrottle()


def test_a_replica_that_is_drained_costs_nothing(lab: Lab) -> None:
    before = answered(lab)
    asking = lab.asking()
    answers = asking.take(50)
    assert lab.end("subject2") == 0
    answers += asking.take(50) + asking.end()
    assert not [answer for answer in answers if answer.error]
    assert answered(lab) - before - len(answers) in range(5)  # those in flight at the end are not told
    lab.begin("subject2")


def test_replicas_that_are_all_gone_are_told_of_and_each_is_asked_again_once_it_is_back(lab: Lab) -> None:
    asking = lab.asking()
    assert not [answer for answer in asking.take(20) if answer.error]
    for host in HOSTS[:2]:
        lab.kill(host)
    errors = [answer.error for answer in asking.until(lambda answer: answer.error != "") if answer.error]
    assert "SERVER_UNAVAILABLE: the subject server at " in errors[0]
    lab.begin("subject1")
    asking.until(lambda answer: not answer.error)
    before = lab.calls("subject2", "ListSubjects")
    lab.begin("subject2")
    wait_for(lambda: lab.calls("subject2", "ListSubjects") > before)
    asking.end()


def test_a_name_whose_replica_has_moved_is_looked_up_again(lab: Lab) -> None:
    first, second = (lab.links[host].address for host in HOSTS[:2])
    name_hosts({"subject.lab": [first]})
    asking = lab.asking(f"dns:///subject.lab:{SUBJECT_PORT}")
    asking.take(20)
    before = lab.calls("subject2", "ListSubjects")
    assert lab.end("subject1") == 0
    name_hosts({"subject.lab": [second]})
    wait_for(lambda: lab.calls("subject2", "ListSubjects") > before)
    asking.end()
    lab.begin("subject1")


def test_a_command_over_a_slow_line_begins(lab: Lab) -> None:
    listing = lab.command("slow", "subjects", "scene-neurons", only="subject", subject=lab.slow_subject)
    assert listing.wait(PATIENCE_S) == 0, lab.told("slow")
    assert "mono" in lab.told("slow")


def test_a_run_goes_on_where_packets_vanish_and_ends_as_an_undisturbed_one(lab: Lab, calm: Path) -> None:
    run = lab.run("silent", UNITS)
    wait_for(lambda: begun(lab.folder / "silent"), run, lambda: lab.told("silent"))
    lab.links["subject1"].swallow()  # and it stays so: whoever asks there finds out by keepalive
    lab.links["sandbox"].swallow()
    try:
        wait_for(lambda: "is asked again" in lab.told("silent"), run, lambda: lab.told("silent"))
        lab.links["sandbox"].deliver()
        assert run.wait(PATIENCE_S) == 0, lab.told("silent")
    finally:
        lab.links["subject1"].deliver()
    assert_alike(lab.folder / "silent", calm)
    assert any(isinstance(event, Resumed) for events in journals(lab.folder / "silent") for event in events)


def test_a_run_begins_over_bad_links_waits_for_its_replicas_and_survives_short_cuts(lab: Lab, calm: Path) -> None:
    assert lab.end("subject1") == 0
    for host in ("subject1", "sandbox"):
        lab.links[host].throttle(8_000)
    run = lab.run("stormy", UNITS, sandbox=SLOW_SANDBOX)
    wait_for(lambda: begun(lab.folder / "stormy"), run, lambda: lab.told("stormy"))
    lab.kill("subject2")
    wait_for(lambda: "is tried again, for at most 120 s" in lab.told("stormy"), run, lambda: lab.told("stormy"))
    time.sleep(3.0)
    assert lab.told("stormy").count("is tried again") <= len(UNITS)  # not for every attempt
    before = lab.calls("subject1", "MeasureUnits")
    lab.begin("subject1")
    for host in ("subject1", "sandbox") * 2:
        assert run.poll() is None, lab.told("stormy")
        lab.links[host].cut()
        time.sleep(0.7)
        lab.links[host].mend()
        time.sleep(0.7)
    assert run.wait(PATIENCE_S) == 0, lab.told("stormy")
    assert lab.links["subject1"].throttled_bytes() > 0
    assert lab.calls("subject1", "MeasureUnits") > before
    assert_alike(lab.folder / "stormy", calm)


def wait_for(
    wanted: Callable[[], bool], run: subprocess.Popen[str] | None = None, told: Callable[[], str] = str
) -> None:
    """Wait until something holds, while a run goes on."""
    until = time.monotonic() + PATIENCE_S
    while not wanted():
        assert run is None or run.poll() is None, told()
        assert time.monotonic() < until, told()
        time.sleep(0.05)


def answered(lab: Lab) -> int:
    return sum(lab.calls(host, "ListSubjects") for host in HOSTS[:2])


def begun(root: Path) -> bool:
    """Whether every unit has called a tool."""
    return sum("tool_called" in file.read_text() for file in root.rglob("journal.jsonl")) == len(UNITS)


def journals(root: Path) -> list[Sequence[object]]:
    (model,) = root.glob("*/scene-neurons")
    return [JournalReader(model / "mono" / str(unit)).events for unit in UNITS]


def found(root: Path) -> list[tuple[object, ...]]:
    """What each unit came to."""
    ends = [event for events in journals(root) for event in events if isinstance(event, Finished)]
    return [(end.how, end.labels, end.description, end.tool_calls) for end in ends]


def activations(root: Path) -> list[float]:
    values: list[float] = []
    for events in journals(root):
        tools = {event.call: event.tool for event in events if isinstance(event, ToolCalled)}
        for event in events:
            if isinstance(event, ToolReturned) and tools[event.call] == "system.call_neuron":
                values += event.result[0]
    return values


def assert_alike(root: Path, calm: Path) -> None:
    """That a run came to what an undisturbed one came to, by the same measurements, and no unit was given up."""
    assert found(root) == found(calm)
    assert activations(root) == pytest.approx(activations(calm), abs=TOLERANCE)
    assert not [event for events in journals(root) for event in events if isinstance(event, Stopped)]
