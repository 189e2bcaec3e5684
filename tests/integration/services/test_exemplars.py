"""Exemplars: found by a pass of a real subject, or imported; served by gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import numpy as np
import pytest
from tests.integration.services.conftest import refusal

from maia.exemplars.v1 import exemplars_pb2, exemplars_pb2_grpc
from maia.orchestrator.clients import ExemplarsClient, Terms, subject
from maia.orchestrator.clients.calling import Connection
from maia.services.building.build import Build, build
from maia.services.building.passing import Wanted
from maia.services.building.sketch import ERROR
from maia.services.exemplars import servicer
from maia.services.exemplars.model import KeptPicture, LayerArrays, Manifest, StoredLayer
from maia.services.exemplars.store import ExemplarStore
from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.png import embedded_scene
from maia.services.scenes.render import render
from maia.services.subject.backends.scene_neurons.backend import SceneNeurons
from maia.services.subject.backends.scene_neurons.table import truths
from maia.services.subject.measuring import measure
from maia.services.subject.model import Unit
from maia.type.v1 import type_pb2
from maia.wire.errors import InvalidRequestError, NotFoundError, OutOfRangeError, PreconditionError
from maia.wire.maps import Frame, map_from_proto, mask_from_proto
from maia.wire.pictures import decode_picture, encode_png

Stub: TypeAlias = "exemplars_pb2_grpc.ExemplarsServiceAsyncStub"
SIZE = 60


def ask(unit: type_pb2.Unit, revision: str = "", **more: Any) -> exemplars_pb2.GetExemplarsRequest:
    return exemplars_pb2.GetExemplarsRequest(subject="scene-neurons", unit=unit, subject_revision=revision, **more)


def of(layer: str, index: int) -> type_pb2.Unit:
    return type_pb2.Unit(layer=layer, index=index)


def found(store: Path, size: int = SIZE, **wanted: Any) -> Manifest:
    built = build(Build("scene-neurons", "scenes", store, Wanted(**wanted), size=size))
    assert built.manifest is not None
    return built.manifest


async def test_a_pass_finds_what_measuring_everything_finds(exemplars_stub: Stub, tmp_path: Path) -> None:
    found(tmp_path / "store")
    subject = SceneNeurons.load()
    units = [Unit("mono", 0), Unit("mono", 12), Unit("or", 7), Unit("and", 3)]
    every = measure(subject, [np.asarray(render(fixed_scene(index))) for index in range(SIZE)], units)
    for column, unit in enumerate(units):
        response = await exemplars_stub.GetExemplars(ask(of(unit.layer, unit.index)))
        order = np.lexsort((np.arange(SIZE), -every.activations[:, column]))[:15]
        assert [exemplar.dataset_index for exemplar in response.exemplars] == order.tolist()
        assert (response.subject_revision, response.dataset) == (subject.info.revision, "scenes-v1")
        values = every.maps[column].astype(np.float64)
        below, above = (np.quantile(values, 0.99, method=how) for how in ("lower", "higher"))
        assert below * (1 - ERROR) - 1e-3 <= response.threshold <= above * (1 + ERROR) + 1e-3  # of float16 maps
        for exemplar, index in zip(response.exemplars, order, strict=True):
            assert exemplar.activation == every.activations[index, column]
            assert np.array_equal(map_from_proto(exemplar.map), every.maps[column][index])
            assert Frame.from_proto(exemplar.frame) == every.frames[index]
            assert embedded_scene(exemplar.picture.data) == fixed_scene(index)
            assert decode_picture(exemplar.picture).shape == (224, 224, 3)
            assert exemplar.title == f"scene {index}"
        known = await exemplars_stub.GetStatistics(
            exemplars_pb2.GetStatisticsRequest(subject="scene-neurons", unit=of(unit.layer, unit.index))
        )
        assert known.threshold == response.threshold
        assert known.mean == pytest.approx(values.mean(), rel=1e-3, abs=1e-4)
        assert known.density == pytest.approx((values > 0).mean(), abs=1e-3)
        assert sum(known.counts) == values.size
        assert len(known.edges) == len(known.counts) + 1 > 10


async def test_a_set_is_listed_with_all_its_layers(exemplars_stub: Stub, tmp_path: Path) -> None:
    assert not (await exemplars_stub.ListExemplarSets(exemplars_pb2.ListExemplarSetsRequest())).sets
    found(tmp_path / "store", 20)
    listed = await exemplars_stub.ListExemplarSets(exemplars_pb2.ListExemplarSetsRequest())
    assert [(one.layer, one.dataset_size, one.dataset, one.top) for one in listed.sets] == [
        (layer, 20, "scenes-v1", 15) for layer in truths()
    ]


async def test_what_is_not_there_says_how_to_build_it(exemplars_stub: Stub, tmp_path: Path) -> None:
    mono = of("mono", 1)
    error = await refusal(exemplars_stub.GetExemplars(ask(mono)))
    assert isinstance(error, NotFoundError)
    assert error.reason == "EXEMPLARS_MISSING"
    assert "maia exemplars build --model scene-neurons" in error.message
    found(tmp_path / "store", 15)
    await exemplars_stub.GetExemplars(ask(mono))
    error = await refusal(exemplars_stub.GetExemplars(ask(mono, revision="another")))
    assert error.reason == "EXEMPLARS_MISSING"
    assert "not another" in error.message
    error = await refusal(exemplars_stub.GetExemplars(ask(mono, dataset="imagenet")))
    assert error.reason == "EXEMPLARS_MISSING"
    assert "there are exemplars of scene-neurons in scenes-v1, not in 'imagenet'" in error.message
    error = await refusal(exemplars_stub.GetExemplars(ask(type_pb2.Unit(layer="layer9"))))
    assert error.reason == "EXEMPLARS_MISSING"
    error = await refusal(exemplars_stub.GetExemplars(ask(of("and", 20))))
    assert isinstance(error, OutOfRangeError)
    assert error.metadata["units"] == "20"


async def test_as_many_are_sent_as_are_asked_for(exemplars_stub: Stub, tmp_path: Path) -> None:
    found(tmp_path / "store", top=20)
    every = (await exemplars_stub.GetExemplars(ask(of("mono", 1)))).exemplars
    assert len(every) == 20
    for count in (1, 7, 20, 4_000_000_000):
        some = (await exemplars_stub.GetExemplars(ask(of("mono", 1), count=count))).exemplars
        assert [one.dataset_index for one in some] == [one.dataset_index for one in every[:count]]


async def test_large_pictures_arrive_in_several_answers(
    exemplars_stub: Stub, exemplars_channel: grpc.aio.Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(tmp_path / "store", top=20, samples=40)
    every = (await exemplars_stub.GetExemplars(ask(of("mono", 1)))).exemplars
    sizes = [len(one.picture.data) + len(one.map.values) for one in every]
    monkeypatch.setattr(servicer, "_MOST_BYTES", 3 * max(sizes))
    error = await refusal(exemplars_stub.GetExemplars(ask(of("mono", 1))))
    assert (error.reason, int(error.metadata["fit"]) in range(3, 20)) == ("REQUEST_TOO_LARGE", True)
    first = await exemplars_stub.GetExemplars(ask(of("mono", 1), in_parts=True))
    assert (first.more, [one.dataset_index for one in first.exemplars]) == (
        True,
        [one.dataset_index for one in every[: int(error.metadata["fit"])]],
    )
    client = ExemplarsClient(Connection("exemplars", "here", exemplars_channel))
    top = await client.top("scene-neurons", "", subject.Unit("mono", 1), Terms.within(60))
    assert [one.dataset_index for one in top.exemplars] == [one.dataset_index for one in every]
    asked = ask(of("mono", 1), quantiles=exemplars_pb2.Quantiles(low=0, high=1), count=10, in_parts=True)
    sampled: list[float] = []
    more = True
    while more:
        asked.skip = len(sampled)
        part = await exemplars_stub.GetExemplars(asked)
        sampled += [one.activation for one in part.exemplars]
        more = part.more
    assert (len(sampled), sampled) == (10, sorted(sampled, reverse=True))
    monkeypatch.setattr(servicer, "_MOST_BYTES", min(sizes) - 1)
    assert (await refusal(exemplars_stub.GetExemplars(asked))).reason == "REQUEST_TOO_LARGE"


async def test_the_sample_shows_what_drives_a_unit_less(exemplars_stub: Stub, tmp_path: Path) -> None:
    found(tmp_path / "store", samples=40)
    best = (await exemplars_stub.GetExemplars(ask(of("mono", 1), count=1))).exemplars[0].activation
    quantiles = exemplars_pb2.Quantiles(low=0, high=1)
    every = (await exemplars_stub.GetExemplars(ask(of("mono", 1), quantiles=quantiles, count=100))).exemplars
    activations = [one.activation for one in every]
    assert len(activations) == 40
    assert activations == sorted(activations, reverse=True)
    assert activations[0] <= best
    subject = SceneNeurons.load()
    for one in every[::10]:
        again = measure(subject, [decode_picture(one.picture)], [Unit("mono", 1)])
        assert again.activations[0, 0] == pytest.approx(one.activation, rel=1e-6)
        assert (one.HasField("map"), one.HasField("mask")) == (False, False)
    low = ask(of("mono", 1), quantiles=exemplars_pb2.Quantiles(low=0.25, high=0.5))
    some = [one.activation for one in (await exemplars_stub.GetExemplars(low)).exemplars]
    assert some == activations[20:30]
    usual = ask(of("mono", 1), quantiles=quantiles)
    assert len((await exemplars_stub.GetExemplars(usual)).exemplars) == 15
    for bad in ((0.5, 0.5), (0.6, 0.5), (-0.1, 0.5), (0.5, 1.1), (float("nan"), 1)):
        wrong = ask(of("mono", 1), quantiles=exemplars_pb2.Quantiles(low=bad[0], high=bad[1]))
        error = await refusal(exemplars_stub.GetExemplars(wrong))
        assert isinstance(error, InvalidRequestError)
        assert error.reason == "QUANTILES_INVALID"


def pictures(count: int) -> Iterator[KeptPicture]:
    for index in range(count):
        picture = encode_png(np.full((6, 8, 3), index, np.uint8))
        yield KeptPicture(index, f"{index}.png", picture, Frame.whole(8, 6))


def imported(store: Path) -> None:
    """Masks of units 2 and 5 of a layer; nobody knows of which revision, and there are no thresholds."""
    layer = StoredLayer(name="layer4", units=6, map_height=6, map_width=8)
    manifest = Manifest(
        subject="scene-neurons",
        subject_revision="",
        dataset="imagenet",
        dataset_revision="0123456789ab",
        dataset_size=3,
        top=2,
        regions="masks",
        layers=(layer,),
    )
    masks = np.zeros((2, 2, 6, 8), np.bool_)
    masks[1, 0, 2:4, 3:] = True
    with ExemplarStore(store).writing(manifest) as writer:
        writer.write_layer(
            0,
            LayerArrays(
                indices=np.array([[0, 1], [2, 0]]),
                activations=np.array([[4, 3], [2, 1]], np.float32),
                masks=np.packbits(masks.reshape(2, 2, 48), axis=-1),
                units=np.array([2, 5]),
            ),
        )
        writer.write_pictures(pictures(3))


async def test_imported_masks_serve_every_revision(exemplars_stub: Stub, tmp_path: Path) -> None:
    imported(tmp_path / "store")
    response = await exemplars_stub.GetExemplars(ask(of("layer4", 5), revision="whatever"))
    assert (response.subject_revision, response.dataset) == ("", "imagenet")
    assert not response.HasField("threshold")
    best, other = response.exemplars
    expected = np.zeros((6, 8), np.bool_)
    expected[2:4, 3:] = True
    assert np.array_equal(mask_from_proto(best.mask), expected)
    assert not mask_from_proto(other.mask).any()
    assert (best.dataset_index, best.activation, best.title) == (2, 2.0, "2.png")
    known = await exemplars_stub.GetStatistics(
        exemplars_pb2.GetStatisticsRequest(subject="scene-neurons", unit=of("layer4", 5))
    )
    assert [known.HasField(name) for name in ("threshold", "mean", "density")] == [False] * 3
    error = await refusal(exemplars_stub.GetExemplars(ask(of("layer4", 3))))
    assert error.reason == "EXEMPLARS_MISSING"
    assert "for 2 units of layer4, not for unit 3" in error.message
    sample = ask(of("layer4", 5), quantiles=exemplars_pb2.Quantiles(low=0, high=1))
    error = await refusal(exemplars_stub.GetExemplars(sample))
    assert error.reason == "EXEMPLARS_MISSING"
    assert "hold no sample" in error.message


async def test_a_dataset_can_be_chosen(exemplars_stub: Stub, tmp_path: Path) -> None:
    found(tmp_path / "store", 15)
    imported(tmp_path / "store")
    layers = {"scenes-v1": of("mono", 1), "imagenet": of("layer4", 2)}
    for name, unit in layers.items():
        assert (await exemplars_stub.GetExemplars(ask(unit, dataset=name))).dataset == name
        assert (await exemplars_stub.GetExemplars(ask(unit))).dataset == name
    error = await refusal(exemplars_stub.GetExemplars(ask(layers["imagenet"], dataset="scenes-v1")))
    assert error.reason == "EXEMPLARS_MISSING"


async def test_damaged_sets_are_not_listed_and_hide_no_others(exemplars_stub: Stub, tmp_path: Path) -> None:
    found(tmp_path / "store", 15)
    whole = await exemplars_stub.ListExemplarSets(exemplars_pb2.ListExemplarSetsRequest())
    for number, text in enumerate(["{", '{"format": "2"}', '{"format": 3}']):
        folder = tmp_path / "store" / "sets" / "another" / str(number)
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(text)
    assert await exemplars_stub.ListExemplarSets(exemplars_pb2.ListExemplarSetsRequest()) == whole


async def test_a_set_of_a_newer_version_is_refused(exemplars_stub: Stub, tmp_path: Path) -> None:
    manifest = found(tmp_path / "store", 15)
    path = ExemplarStore(tmp_path / "store").folder_of(manifest) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "format": 3}))
    error = await refusal(exemplars_stub.GetExemplars(ask(of("mono", 1))))
    assert isinstance(error, PreconditionError)
    assert (error.reason, error.metadata["format"]) == ("STORE_FORMAT", "3")
    imported(tmp_path / "store")
    listed = await exemplars_stub.ListExemplarSets(exemplars_pb2.ListExemplarSetsRequest())
    assert [one.layer for one in listed.sets] == ["layer4"]


async def test_a_set_of_ten_thousand_units_is_served_without_being_read_whole(
    exemplars_stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units, top = 10_000, 15
    manifest = Manifest(
        subject="scene-neurons",
        subject_revision="r1",
        dataset="imagenet",
        dataset_revision="0123456789ab",
        dataset_size=3,
        top=top,
        layers=(StoredLayer(name="wide", units=units, map_height=14, map_width=14),),
    )
    indices = np.arange(units)[:, np.newaxis] + np.arange(top)
    with ExemplarStore(tmp_path / "store").writing(manifest) as writer:
        writer.write_layer(
            0,
            LayerArrays(
                indices=indices % 3,
                activations=np.full((units, top), 2, np.float32),
                maps=np.broadcast_to(np.float16(1), (units, top, 14, 14)),
            ),
        )
        writer.write_pictures(pictures(3))
    mapped: list[str | None] = []
    load = np.load

    def loaded(path: Path, mmap_mode: Any = None, **others: Any) -> Any:
        mapped.append(mmap_mode)
        return load(path, mmap_mode, **others)

    monkeypatch.setattr(np, "load", loaded)
    (listed,) = (await exemplars_stub.ListExemplarSets(exemplars_pb2.ListExemplarSetsRequest())).sets
    assert (listed.units, mapped) == (units, [])
    response = await exemplars_stub.GetExemplars(ask(of("wide", 9999), revision="r1"))
    assert [one.dataset_index for one in response.exemplars] == [(9999 + rank) % 3 for rank in range(top)]
    assert set(mapped) == {"r"}
