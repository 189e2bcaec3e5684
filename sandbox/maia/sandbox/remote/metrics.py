"""What operators watch of a sandbox host, in Prometheus' format."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from maia.sandbox.limits import Outcome

_SECONDS: Final = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class SandboxMetrics:
    """Those of one host.

    Attributes:
        registry: For whoever exports them.
        sessions: Open now.
        opened: Opened so far.
        refused: Not opened, since as many were open as may be.
        blocks: That have ended, by how.
        wall_s: Of a block, without its waits for tools.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """All are zero.

        Args:
            registry: Where they are registered; one of their own if None.
        """
        self.registry = in_ = registry or CollectorRegistry()
        self.sessions = Gauge("maia_sessions", "Sessions that are open.", registry=in_)
        self.opened = Counter("maia_sessions_opened", "Sessions that were opened.", registry=in_)
        self.refused = Counter("maia_sessions_refused", "Sessions for which there was no room.", registry=in_)
        self.blocks = Counter("maia_blocks", "Blocks of code that have ended.", ("outcome",), registry=in_)
        self.wall_s = Histogram(
            "maia_block_seconds", "Of a block, without its waits for tools.", buckets=_SECONDS, registry=in_
        )

    def ended(self, outcome: Outcome) -> None:
        """Count a block."""
        self.blocks.labels(outcome.status.value).inc()
        self.wall_s.observe(outcome.usage.wall_s)
