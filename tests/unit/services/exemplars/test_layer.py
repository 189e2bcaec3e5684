"""A layer of an exemplar set, as it was written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.unit.services.exemplars.sets import arrays, manifest, pictures, write

from maia.services.exemplars.layer import ExemplarLayer
from maia.services.exemplars.model import Statistics, StoredLayer
from maia.services.exemplars.store import ExemplarStore
from maia.wire.errors import (
    InternalError,
    InvalidRequestError,
    NotFoundError,
    OutOfRangeError,
)
from maia.wire.maps import Frame

COUNT = 40


def test_what_was_written_is_read(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest())
    layer = store.find("model", "layer.1")
    first, second = layer.exemplars(1)
    assert (first.picture.data, first.activation, first.picture.index) == (b"png 1", 7.0, 1)
    assert (first.picture.title, first.picture.frame) == ("1.png", Frame(0, 1, 4, 5))
    assert second.map is not None
    assert second.map.tolist() == [[12, 13], [14, 15]]
    assert (first.mask, second.mask) == (None, None)
    assert layer.statistics(1) == Statistics(0.25)
    assert [one.picture.index for one in layer.exemplars(0, 1)] == [2]
    for unit in (-1, 2):
        with pytest.raises(OutOfRangeError) as caught:
            layer.exemplars(unit)
        assert caught.value.metadata["units"] == "2"


def test_pictures_that_do_not_fit_into_an_answer_are_not_read(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest())
    layer = store.find("model", "layer.1")
    each = len(b"png 0") + 2 * 2 * 2  # with its map of half-precision numbers
    assert len(layer.exemplars(0, most_bytes=2 * each)) == 2
    with pytest.raises(InvalidRequestError, match="these 2 pictures have 26 bytes, and at most 25 fit") as caught:
        layer.exemplars(0, most_bytes=2 * each - 1)
    assert (caught.value.reason, caught.value.metadata["fit"]) == ("REQUEST_TOO_LARGE", "1")
    for place, index in enumerate((2, 0)):
        (one,) = layer.exemplars(0, part=slice(place, place + 1), most_bytes=each)
        assert one.picture.index == index


def test_statistics_are_a_units_own(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    edges, counts = np.array([[0, 1, 2], [3, 4, 5]], np.float32), np.array([[1, 2], [3, 4]])
    write(
        store,
        manifest(),
        arrays(
            mean=np.array([0.5, 1.5]),
            density=np.array([0.1, 0.2]),
            edges=edges,
            histogram=counts,
            thresholds=np.array([np.nan, 3], np.float32),
        ),
    )
    layer = store.find("model", "layer.1")
    known = layer.statistics(1)
    assert (known.threshold, known.mean, known.density) == (3, 1.5, 0.2)
    assert known.edges is not None
    assert known.histogram is not None
    assert (known.edges.tolist(), known.histogram.tolist()) == ([3, 4, 5], [3, 4])
    assert layer.statistics(0).threshold is None


def test_a_unit_with_fewer_pictures_than_others_has_those(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest(), arrays(indices=np.array([[2, -1], [-1, -1]])))
    layer = store.find("model", "layer.1")
    assert [one.picture.index for one in layer.exemplars(0)] == [2]
    assert layer.exemplars(1) == []


def test_a_set_of_some_units_says_so_for_the_others(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    few = manifest().model_copy(update={"layers": (manifest().layers[0].model_copy(update={"units": 9}),)})
    write(store, few, arrays(units=np.array([3, 7])))
    layer = store.find("model", "layer.1")
    assert [one.picture.index for one in layer.exemplars(7)] == [1, 2]
    assert layer.statistics(3).threshold == 0.5
    for unit in (0, 5, 8):
        for ask in (layer.exemplars, layer.statistics):
            with pytest.raises(NotFoundError, match=f"exemplars for 2 units of layer.1, not for unit {unit}"):
                ask(unit)
    with pytest.raises(OutOfRangeError, match="units 0 to 8, not 9"):
        layer.exemplars(9)


def test_masks_are_read_bit_by_bit(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    masks = np.random.default_rng(1).integers(0, 2, (2, 2, 5, 3)).astype(np.bool_)
    layer = StoredLayer(name="layer.1", units=2, map_height=5, map_width=3)
    imported = manifest("").model_copy(update={"regions": "masks", "layers": (layer,)})
    bits = np.packbits(masks.reshape(2, 2, 15), axis=-1)
    write(store, imported, arrays(maps=None, masks=bits, thresholds=None))
    assert store.folder_of(imported).name.startswith("imported-toy-d1-")
    found = store.find("model", "layer.1", "whatever revision")
    assert found.statistics(0).threshold is None
    for unit in range(2):
        for rank, exemplar in enumerate(found.exemplars(unit)):
            assert exemplar.map is None
            assert exemplar.mask is not None
            assert np.array_equal(exemplar.mask, masks[unit, rank])


@pytest.fixture
def sampled(tmp_path: Path) -> ExemplarLayer:
    """Pictures 0 to 39 are the sample; unit 0 answers to picture p with (7 p) mod 40, unit 1 always the same."""
    described = manifest().model_copy(update={"samples": COUNT, "dataset_size": COUNT})
    activations = np.array([np.arange(COUNT) * 7 % COUNT, np.full(COUNT, 3)], np.float32)
    store = ExemplarStore(tmp_path)
    with store.writing(described) as writer:
        writer.write_layer(0, arrays(sampled=activations))
        writer.write_pictures(pictures(COUNT), range(COUNT))
    return store.find("model", "layer.1")


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_sample_lies_between_the_quantiles(sampled: ExemplarLayer, one: float, other: float, most: int) -> None:
    low, high = sorted((one, other))
    assume(low < high)
    found = sampled.sampled(0, low, high, most)
    values = [exemplar.activation for exemplar in found]
    own = np.arange(COUNT)
    least, greatest = np.quantile(own, low, method="lower"), np.quantile(own, high, method="higher")
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)
    assert all(least <= value <= greatest for value in values)
    assert 1 <= len(values) <= most
    assert len(values) == most or abs(len(values) - (high - low) * COUNT) < 2
    assert all(exemplar.picture.index * 7 % COUNT == exemplar.activation for exemplar in found)
    assert {(exemplar.map is None, exemplar.mask is None) for exemplar in found} == {(True, True)}


def test_a_sample_is_spread_evenly_over_what_there_is(sampled: ExemplarLayer) -> None:
    whole = [exemplar.activation for exemplar in sampled.sampled(0, 0, 1, COUNT)]
    assert whole == list(range(COUNT - 1, -1, -1))
    some = [exemplar.activation for exemplar in sampled.sampled(0, 0, 1, 4)]
    assert some == [39, 26, 13, 0]
    assert [exemplar.activation for exemplar in sampled.sampled(0, 0.5, 0.75, 3)] == [29, 25, 20]
    assert {exemplar.activation for exemplar in sampled.sampled(1, 0.2, 0.4, 5)} == {3}


@pytest.mark.parametrize(
    ("low", "high", "values"), [(0.0, 0.07, 7), (0.07, 0.14, 7), (0.29, 0.57, 28), (0.28, 0.291, 2)]
)
def test_a_sample_has_no_picture_more_for_a_rounded_float(tmp_path: Path, low: float, high: float, values: int) -> None:
    described = manifest().model_copy(update={"samples": 100, "dataset_size": 100})
    store = ExemplarStore(tmp_path)
    with store.writing(described) as writer:
        writer.write_layer(0, arrays(sampled=np.tile(np.arange(100, dtype=np.float32), (2, 1))))
        writer.write_pictures(pictures(100), range(100))
    found = [exemplar.activation for exemplar in store.find("model", "layer.1").sampled(0, low, high, 100)]
    first = round(low * 100)
    assert found == list(range(first + values - 1, first - 1, -1))


@pytest.mark.parametrize(
    "name",
    ["0/indices.npy", "0/activations.npy", "0/maps.npy", "frames.npy", "pictures.npy", "pictures.bin", "titles.json"],
)
def test_damage_is_named_with_its_remedy(tmp_path: Path, name: str) -> None:
    damages: tuple[Callable[[Path], object], ...] = (lambda path: path.write_bytes(b""), Path.unlink)
    for number, damage in enumerate(damages):
        store = ExemplarStore(tmp_path / str(number))
        write(store, manifest())
        damage(store.folder_of(manifest()) / name)
        with pytest.raises(
            InternalError, match=r"damaged or missing; remove .* maia exemplars build --model model"
        ) as caught:
            store.find("model", "layer.1").exemplars(0)
        assert caught.value.reason == "EXEMPLARS_DAMAGED"


def test_arrays_of_another_shape_are_damage(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest())
    np.save(store.folder_of(manifest()) / "0" / "thresholds.npy", np.zeros(1, np.float32))
    with pytest.raises(InternalError, match=r"thresholds\.npy is damaged"):
        store.find("model", "layer.1").statistics(1)


def test_what_was_cut_off_is_damage(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest())
    path = store.folder_of(manifest()) / "pictures.bin"
    os.truncate(path, path.stat().st_size - 1)
    assert [one.picture.data for one in store.find("model", "layer.1").exemplars(1, 1)] == [b"png 1"]
    with pytest.raises(InternalError, match="damaged"):
        store.find("model", "layer.1").exemplars(0)


def test_a_set_that_took_the_place_of_another_is_read_afresh(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest(""))
    assert store.find("model", "layer.1").exemplars(0)[0].activation == 9
    shutil.rmtree(store.folder_of(manifest("")))
    write(store, manifest(""), arrays(activations=np.array([[5, 4], [3, 2]], np.float32)))
    assert store.find("model", "layer.1").exemplars(0)[0].activation == 5
