"""Who made a container, told by its label."""

from __future__ import annotations

import subprocess
import sys

from maia.sandbox.host.tiers.docker import owners


def owner_of_another_process() -> str:
    code = "from maia.sandbox.host.tiers.docker import owners; print(owners.this_process())"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_what_this_process_made_is_no_orphan() -> None:
    assert not owners.is_orphan(owners.this_process())


def test_what_a_process_made_that_has_ended_is_one() -> None:
    assert owners.is_orphan(owner_of_another_process())


def test_a_later_process_with_the_same_number_is_not_the_owner() -> None:
    place, number, started = owners.this_process().split()
    assert owners.is_orphan(f"{place} {number} {int(started) - 1}")


def test_what_was_made_elsewhere_is_left_alone() -> None:
    _, number, _ = owner_of_another_process().split()
    assert not owners.is_orphan(f"another-boot/1 {number} 1")


def test_a_label_that_is_none_of_ours_is_left_alone() -> None:
    assert not owners.is_orphan("")
    assert not owners.is_orphan("something else entirely")
