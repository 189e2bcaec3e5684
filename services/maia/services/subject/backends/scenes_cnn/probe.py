"""Which concept does each unit respond to? `python -m maia.services.subject.backends.scenes_cnn.probe`.

A quick look with labels in hand, to judge a training run and to choose units that are worth an investigation. It knows
the scenes, which an agent does not, and it only correlates: a unit that seems to like circles may like curved edges.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from maia.services.subject.backends.scenes_cnn import weights
from maia.services.subject.backends.scenes_cnn.examples import Examples
from maia.services.subject.backends.scenes_cnn.network import CHANNELS, SceneNetwork
from maia.services.subject.backends.scenes_cnn.targets import CONCEPTS

_BATCH = 64
_TOP = 15  # as many as an agent is shown


@dataclass(frozen=True, slots=True)
class Finding:
    """The concept that tells best when a unit is active.

    Attributes:
        layer: The unit's layer.
        index: The unit's channel.
        concept: One of `targets.CONCEPTS`, or "nothing" for a unit that is never active.
        auc: Chance that the unit is more active on a picture with the concept than on one without, 0 to 1.
        top: Share of the unit's 15 best pictures that show the concept.
        active: Share of all pictures on which the unit is active at all.
    """

    layer: str
    index: int
    concept: str
    auc: float
    top: float
    active: float


def probe(network: SceneNetwork, examples: Examples, layers: Sequence[str] = ("layer3", "layer4")) -> list[Finding]:
    """Return a finding for every unit of some layers, in their order.

    Args:
        network: In evaluation mode.
        examples: A few thousand, so that every concept occurs.
        layers: Keys of `CHANNELS`.
    """
    peaks = _peaks(network, examples.pixels, layers)
    return [finding for layer in layers for finding in _findings(layer, peaks[layer], examples.present)]


def _findings(layer: str, peaks: npt.NDArray[np.float32], targets: npt.NDArray[np.bool_]) -> list[Finding]:
    aucs = _aucs(peaks, targets)
    found = []
    for index, values in enumerate(peaks.T):
        active = float(np.mean(values > 0.0))
        if active == 0.0:
            found.append(Finding(layer, index, "nothing", auc=0.5, top=0.0, active=0.0))
            continue
        best = int(aucs[index].argmax())
        top = np.argsort(-values, kind="stable")[:_TOP]
        share = float(np.mean(targets[top, best]))
        found.append(Finding(layer, index, CONCEPTS[best], float(aucs[index, best]), share, active))
    return found


def _peaks(
    network: SceneNetwork, pixels: npt.NDArray[np.uint8], layers: Sequence[str]
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the spatial maximum of every unit on every picture, float32, (pictures, channels), by layer."""
    parts: dict[str, list[npt.NDArray[np.float32]]] = {layer: [] for layer in layers}
    for start in range(0, len(pixels), _BATCH):
        for layer, values in network.look(pixels[start : start + _BATCH], layers).items():
            parts[layer].append(values.max(axis=(2, 3)))
    return {layer: np.concatenate(values) for layer, values in parts.items()}


def _aucs(peaks: npt.NDArray[np.float32], targets: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the area under the ROC curve of every unit for every concept, float64, (channels, concepts).

    From rank sums (Mann-Whitney); a concept that all pictures show, or none, gets 0.5.
    """
    ranks: npt.NDArray[np.float64] = rankdata(peaks, axis=0)
    positives = targets.sum(axis=0).astype(np.float64)
    pairs = positives * (len(targets) - positives)
    wins: npt.NDArray[np.float64] = ranks.T @ targets.astype(np.float64) - positives * (positives + 1.0) / 2.0
    aucs = np.full(wins.shape, 0.5)
    np.divide(wins, pairs, out=aucs, where=pairs > 0.0)
    return aucs


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for every unit of the chosen layers, the clearest units first."""
    parser = argparse.ArgumentParser(
        prog="python -m maia.services.subject.backends.scenes_cnn.probe",
        description="Say which concept each unit of scenes-cnn responds to, on the first pictures of the fixed set.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--weights", type=Path, default=weights.SHIPPED, help="the network to look at")
    parser.add_argument("--layers", nargs="+", choices=list(CHANNELS), default=["layer3", "layer4"], help="where")
    parser.add_argument("--scenes", type=int, default=2_000, help="how many pictures")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw scenes")
    options = parser.parse_args(argv)
    examples = Examples.draw(0, options.scenes, workers=options.workers)
    findings = probe(weights.load(options.weights).network, examples, options.layers)
    for layer in options.layers:
        here = sorted((finding for finding in findings if finding.layer == layer), key=lambda finding: -finding.auc)
        for one in here:
            unit = f"{layer}:{one.index}"
            sys.stdout.write(
                f"{unit:<11} {one.concept:<22} AUC {one.auc:.3f}  top {one.top:4.0%}  active on {one.active:4.0%}\n"
            )


if __name__ == "__main__":
    main()
