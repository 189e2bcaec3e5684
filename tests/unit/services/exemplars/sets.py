"""Small exemplar sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from maia.services.exemplars.model import KeptPicture, LayerArrays, Manifest, StoredLayer
from maia.services.exemplars.store import ExemplarStore
from maia.wire.maps import Frame


def manifest(revision: str = "r1", subject: str = "model") -> Manifest:
    layer = StoredLayer(name="layer.1", units=2, map_height=2, map_width=2)
    return Manifest(
        subject=subject,
        subject_revision=revision,
        dataset="toy",
        dataset_revision="d1",
        dataset_size=3,
        top=2,
        layers=(layer,),
    )


def pictures(count: int = 3) -> Iterator[KeptPicture]:
    for index in range(count):
        yield KeptPicture(index, f"{index}.png", b"png %d" % index, Frame(0, index, 4, 4 + index))


def arrays(**changed: Any) -> LayerArrays:
    given: dict[str, Any] = {
        "indices": np.array([[2, 0], [1, 2]]),
        "activations": np.array([[9, 8], [7, 6]], np.float32),
        "maps": np.arange(16, dtype=np.float16).reshape(2, 2, 2, 2),
        "thresholds": np.array([0.5, 0.25], np.float32),
    }
    return LayerArrays(**{**given, **changed})


def write(
    store: ExemplarStore, described: Manifest, layer: LayerArrays | None = None, samples: Sequence[int] = ()
) -> None:
    with store.writing(described) as writer:
        writer.write_layer(0, layer or arrays())
        writer.write_pictures(pictures(), samples)
        writer.write_report([])
