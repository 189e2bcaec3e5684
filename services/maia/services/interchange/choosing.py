"""Which layers of the store are meant by names."""

from __future__ import annotations

from collections.abc import Sequence

from maia.services.exemplars.layer import ExemplarLayer
from maia.services.exemplars.store import ExemplarStore
from maia.services.interchange.failures import name_unknown
from maia.services.interchange.names import natural_order

__all__ = ["choose_layers"]


def choose_layers(
    store: ExemplarStore, model: str, dataset: str = "", names: Sequence[str] = ()
) -> list[ExemplarLayer]:
    """Return a model's layers, all of one dataset and one revision of the model: those of its newest set.

    Args:
        store: Where they are.
        model: As `--model` of `import` and `build` called it.
        dataset: Its name; "" for that of the newest set.
        names: Of layers; none for all.

    Returns:
        The newest of each name, in natural order.

    Raises:
        NotFoundError: EXEMPLARS_MISSING, or NAME_UNKNOWN for a dataset or layer.
        PreconditionError: STORE_FORMAT.
        InternalError: EXEMPLARS_DAMAGED.
    """
    sets = store.manifests_of(model)
    if not sets:
        store.find(model, "")  # says why there is none
    of_dataset = [manifest for manifest in sets if dataset in {"", manifest.dataset}]
    if not of_dataset:
        raise name_unknown("dataset", dataset, [manifest.dataset for manifest in sets])
    newest = of_dataset[0]
    layers: dict[str, ExemplarLayer] = {}
    for manifest in of_dataset:
        if (manifest.dataset, manifest.subject_revision) == (newest.dataset, newest.subject_revision):
            for number, layer in enumerate(manifest.layers):
                layers.setdefault(layer.name, ExemplarLayer(store.folder_of(manifest), manifest, number))
    ordered = sorted(layers, key=natural_order)
    for name in names:
        if name not in layers:
            raise name_unknown("layer", name, ordered)
    return [layers[name] for name in ordered if name in names or not names]
