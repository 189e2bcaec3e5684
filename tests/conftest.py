"""What all tests share."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Final

import pytest
import structlog
from hypothesis import settings

# Hypothesis would fail an example that takes 200 ms, and no test asserts a time.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

# A container takes seconds to start at worst, and there are two thousand attacks. Where nobody chose tiers, all of them
# run in the jail and the tier landlock, and in Docker one of each table of those on the network and the kernel's files.
# `make security` runs all of them everywhere.
SAMPLED: Final = ("docker", "gvisor")
IN_DOCKER: Final = ("test_kernels_files.py", "test_network.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out most attacks on containers, unless MAIA_TEST_TIERS names tiers."""
    if os.environ.get("MAIA_TEST_TIERS"):
        return
    seen: set[tuple[object, str]] = set()
    kept, left_out = [], []
    for item in items:
        case = getattr(item, "callspec", None)
        tier = case.params.get("tier") if case is not None and item.path.parent.name == "security" else None
        if tier in SAMPLED:
            key = (tier, f"{item.path.name}::{getattr(item, 'originalname', item.name)}")
            wanted = case is not None and case.params.get("policy", "off") == "off" and key not in seen
            if not wanted or tier != "docker" or item.path.name not in IN_DOCKER:
                left_out.append(item)
                continue
            seen.add(key)
        kept.append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Commands that run inside a test configure logs for their whole process, which is that of all tests."""
    ours, configured = logging.getLogger("maia"), structlog.is_configured()
    level, config = ours.level, structlog.get_config()
    yield
    ours.setLevel(level)
    structlog.configure(**config) if configured else structlog.reset_defaults()
