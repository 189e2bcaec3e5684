"""What operators watch, in Prometheus' format."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from maia.wire.metrics import SECONDS

__all__ = ["Metrics"]

_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)
_LABELS: Final = ("model",)


class Metrics:
    """Those of one server, by model where it says no other.

    Attributes:
        registry: For whoever exports them.
        waiting: Items in the queue.
        refused: Items refused because too many waited.
        batch_size: Items in a batch.
        wait_s: From an item's arrival to its run.
        run_s: A batch in the model.
        cache_hits: Items that the cache held.
        cache_misses: Items that it did not hold.
        cache_bytes: What it holds, of all models.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """All are zero.

        Args:
            registry: Where they are registered; one of their own if None.
        """
        self.registry = in_ = registry or CollectorRegistry()
        self.waiting = Gauge("maia_queue_items", "Items that wait.", _LABELS, registry=in_)
        self.refused = Counter("maia_queue_refused", "Items refused because too many waited.", _LABELS, registry=in_)
        self.batch_size = Histogram("maia_batch_items", "Items in a batch.", _LABELS, buckets=_SIZES, registry=in_)
        self.wait_s = Histogram(
            "maia_wait_seconds", "From an item's arrival to its run.", _LABELS, buckets=SECONDS, registry=in_
        )
        self.run_s = Histogram("maia_run_seconds", "A batch in the model.", _LABELS, buckets=SECONDS, registry=in_)
        self.cache_hits = Counter("maia_cache_hits", "Items that the cache held.", _LABELS, registry=in_)
        self.cache_misses = Counter("maia_cache_misses", "Items that it did not hold.", _LABELS, registry=in_)
        self.cache_bytes = Gauge("maia_cache_bytes", "What the cache holds, of all models.", registry=in_)
