"""The dashboard asks for metrics that servers have."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from maia.sandbox.remote.metrics import SandboxMetrics
from maia.services._runtime.metrics import Metrics
from maia.wire.metrics import CallMetrics

DEPLOY = Path(__file__).parents[2] / "deploy"


def dashboard() -> dict[str, Any]:
    made: dict[str, Any] = json.loads((DEPLOY / "grafana" / "maia.json").read_text(encoding="utf-8"))
    return made


def queries() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def served() -> set[str]:
    """Names as Prometheus sees them, also those that have no value yet."""
    registry = CollectorRegistry()
    CallMetrics(registry)
    Metrics(registry)
    SandboxMetrics(registry)
    names = set()
    for family in registry.collect():
        endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}[family.type]
        names |= {family.name + ending for ending in endings}
    return names


def test_every_query_asks_for_what_a_server_tells() -> None:
    asked = {name for query in queries() for name in re.findall(r"\bmaia_\w+", query)}
    assert asked
    assert asked <= served()


def test_no_metric_is_left_out() -> None:
    text = " ".join(queries())
    families = {re.sub("_(total|bucket|sum|count)$", "", name) for name in served()}
    assert {name for name in families if name not in text} == set()


def test_panels_have_places_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
