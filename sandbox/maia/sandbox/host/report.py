"""What the sandbox can enforce on this machine, for people."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maia.sandbox.errors import SandboxError, TierUnavailableError
from maia.sandbox.host.host import Host
from maia.sandbox.host.tiers.choice import TIERS
from maia.sandbox.host.tiers.tier import Feature

if TYPE_CHECKING:
    from pathlib import Path

    from maia.sandbox.host.tiers.choice import TierName

__all__ = ["Feature", "TierReport", "probe", "probe_all"]


@dataclass(frozen=True, slots=True)
class TierReport:
    """What one tier does on this machine.

    Attributes:
        tier: "jail".
        available: Whether sessions can be opened.
        features: What it enforces and what it does not; where it is not available, the one thing that is missing.
        remedy: What to do if it is not available; empty if it is.
    """

    tier: str
    available: bool
    features: tuple[Feature, ...]
    remedy: str


async def probe(tier: TierName = "jail", *, cache_dir: Path | None = None) -> TierReport:
    """Open a session in a tier and say what came of it. Takes about a second, more without a cache.

    Args:
        tier: Which; also "none", in which nothing but a trial session of our own is run.
        cache_dir: See `Host`.
    """
    try:
        async with Host(tier=tier, cache_dir=cache_dir, allow_unisolated=True, pool_size=1) as host:
            return TierReport(tier=host.tier, available=True, features=host.features, remedy="")
    except TierUnavailableError as error:
        found = str(error).removesuffix(error.remedy).rstrip(". ")
        missing = Feature(name=error.step, enforced=False, detail=found)
        return TierReport(tier, available=False, features=(missing,), remedy=error.remedy)
    except SandboxError as error:
        missing = Feature(name="start", enforced=False, detail=str(error))
        remedy = "See the message; the installation looks broken."
        return TierReport(tier, available=False, features=(missing,), remedy=remedy)


async def probe_all(*, cache_dir: Path | None = None) -> tuple[TierReport, ...]:
    """Probe every tier, those first that "auto" tries first. Takes some seconds.

    Args:
        cache_dir: See `Host`.
    """
    return tuple(await asyncio.gather(*(probe(tier, cache_dir=cache_dir) for tier in TIERS)))
