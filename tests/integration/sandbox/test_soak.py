"""A small soak: nothing is left of sessions that end in every way there is."""

from __future__ import annotations

import os
import sys

import pytest
from tests.bench.residue import KINDS
from tests.bench.soak_blocks import DEEDS
from tests.bench.soak_sandbox import soak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


async def test_sessions_leave_nothing_behind() -> None:
    report = await soak(tier="jail", sessions=4, blocks=60, minutes=2, seed=1, progress_s=0)
    assert report.tally.wrong == []
    assert {kind: report.leaked.get(kind) for kind in KINDS} == dict.fromkeys(KINDS)
    # It would have been seen.
    assert report.busy.count("processes") >= report.idle.count("processes") + 4
    assert report.busy.count("descriptors") > report.idle.count("descriptors")
    if os.geteuid() == 0:
        assert report.busy.count("mount_namespaces") > report.idle.count("mount_namespaces")
    assert len(report.tally.deeds) > len(DEEDS) // 2
