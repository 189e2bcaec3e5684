"""Which tier a host takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from maia.sandbox.errors import SandboxError, TierUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from maia.sandbox.host.tiers.tier import Feature, Tier

__all__ = ["AUTO", "TIERS", "TierName", "check_tier", "make_tier", "start_tier"]

TierName = Literal["auto", "jail", "gvisor", "docker", "landlock", "none"]

AUTO: Final = ("jail", "gvisor", "docker", "landlock")
"""What "auto" tries, in this order."""

TIERS: Final = tuple(name for name in get_args(TierName) if name != "auto")


def check_tier(name: str) -> None:
    """Refuse a name that is no tier's.

    Raises:
        ValueError: It lists the names there are.
    """
    if name != "auto" and name not in TIERS:
        raise ValueError(f"there is no tier {name!r}; valid: auto, {', '.join(TIERS)}")


def make_tier(name: str, *, pool_size: int = 2) -> Tier:
    """The tier of a name, not started. Imports what it needs and no other tier's."""
    match name:
        case "jail":
            from maia.sandbox.host.tiers.jail.tier import JailTier

            return JailTier()
        case "landlock":
            from maia.sandbox.host.tiers.landlock import LandlockTier

            return LandlockTier()
        case "gvisor" | "docker":
            from maia.sandbox.host.tiers.docker.tier import DockerTier

            return DockerTier(runtime="runsc" if name == "gvisor" else None, pool_size=pool_size)
        case "none":
            from maia.sandbox.host.tiers.none import OpenTier

            return OpenTier()
    check_tier(name)
    raise AssertionError(name)


async def start_tier(
    wanted: str,
    attempt: Callable[[Tier], Awaitable[tuple[Feature, ...]]],
    *,
    cache_dir: Path | None,
    allow_unisolated: bool,
    pool_size: int = 2,
) -> tuple[Tier, tuple[Feature, ...]]:
    """Start a tier, and open a session in it on trial.

    Args:
        wanted: A name of `TIERS`, or "auto".
        attempt: Opens the session on trial and says what it found.
        cache_dir: See `Tier.start`.
        allow_unisolated: Whether "none" may be taken.
        pool_size: Containers kept ready.

    Raises:
        ValueError: An unknown tier.
        TierUnavailableError: It does not work here; for "auto", none does, and the text says of each what is missing.
    """
    if wanted == "none" and not allow_unisolated:
        raise TierUnavailableError(
            "taking the tier",
            0,
            "it isolates nothing: code can do all that this user can",
            "Choose another tier, or allow it (--allow-unisolated) to debug on a system that has no better.",
            "none",
        )
    refusals = []
    for name in AUTO if wanted == "auto" else (wanted,):
        tier = make_tier(name, pool_size=pool_size)
        try:
            await tier.start(cache_dir)
            try:
                return tier, await attempt(tier)
            except BaseException:
                await tier.close()
                raise
        except TierUnavailableError as error:
            if wanted != "auto":
                raise
            refusals.append(error)
        except SandboxError as error:
            if wanted != "auto":
                raise
            refusals.append(TierUnavailableError("start", 0, str(error), "See the message.", name))
    raise TierUnavailableError(
        "finding one",
        0,
        "none of " + ", ".join(AUTO) + " works",
        "\n".join(f"- {refusal}" for refusal in refusals),
        "auto",
    )
