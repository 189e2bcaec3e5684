"""One pass of a subject over the scene set, through its server: top pictures and thresholds of all units."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

import grpc
import numpy as np
from numpy.typing import NDArray

from maia.services.exemplars.dataset import DEFAULT_SIZE, NAME, SceneDataset, render_dataset
from maia.services.exemplars.model import QUANTILE, TOP, Manifest, StoredLayer
from maia.services.exemplars.ranking import TopPictures, ValueCounts
from maia.services.exemplars.store import ExemplarStore, LayerArrays
from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.type.v1 import type_pb2
from maia.wire.errors import InternalError, InvalidRequestError, PreconditionError
from maia.wire.pictures import png_picture
from maia.wire.status import translated

_BATCH: Final = 32
_ANSWER_BYTES: Final = 16 << 20  # a batch is as large as its maps fit into
_DEADLINE_S: Final = 300.0  # of one batch

Progress = Callable[[str, int, int], None]
"""Called with what is being done ("rendering" or "measuring"), how many pictures are done, and how many there are."""


@dataclass(slots=True)
class _LayerPass:
    """What the pass keeps of one layer, whose units are `span` of those measured."""

    layer: StoredLayer
    span: slice
    top: TopPictures
    counts: ValueCounts

    def arrays(self) -> LayerArrays:
        return LayerArrays(self.top.indices, self.top.activations, self.counts.quantile(QUANTILE), self.top.maps)


@dataclass(frozen=True, slots=True)
class _Batch:
    start: int
    response: subject_pb2.MeasureUnitsResponse


async def build_exemplars(
    channel: grpc.aio.Channel,
    subject: str,
    store: Path,
    *,
    size: int = DEFAULT_SIZE,
    progress: Progress = lambda *_: None,
) -> Manifest:
    """Find and store the exemplars of all units of a subject; returns at once if the store has them.

    Args:
        channel: To a subject server.
        subject: Its name there.
        store: Root of the exemplar store.
        size: Pictures of the fixed scene set, at least 1.
        progress: Is told how far it is.

    Raises:
        NotFoundError: SUBJECT_UNKNOWN.
        PreconditionError: STORE_UNWRITABLE: no room, or no permission.
        InternalError: EXEMPLARS_DAMAGED: the set is there, but not whole.
        MaiaError: Whatever else measuring raises; nothing is stored then.
    """
    if size < 1:
        raise InvalidRequestError(f"exemplars cannot be found among {size} pictures", reason="SIZE_INVALID")
    stub = subject_pb2_grpc.SubjectServiceStub(channel)
    with translated(server="subject server"):
        info = await stub.GetSubject(subject_pb2.GetSubjectRequest(subject=subject), timeout=60)
    with _storing(store):
        dataset = await asyncio.to_thread(render_dataset, store, size, lambda done: progress("rendering", done, size))
    manifest = _manifest(info, dataset)
    exemplars = ExemplarStore(store)
    if not exemplars.has(manifest):
        layers, frames = await _measure(stub, manifest, dataset, progress)
        with _storing(store), exemplars.writing(manifest) as writer:
            writer.write_frames(frames)
            for number, layer in enumerate(layers):
                writer.write_layer(number, layer.arrays())
    return manifest


@contextmanager
def _storing(store: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # NumPy raises one without a number when the disk is full.
        why = error.strerror or "the disk may be full"
        raise PreconditionError(
            f"the exemplars cannot be stored in {store}: {why}; make room there or choose another folder",
            reason="STORE_UNWRITABLE",
            metadata={"store": str(store)},
        ) from error


def _manifest(info: subject_pb2.GetSubjectResponse, dataset: SceneDataset) -> Manifest:
    return Manifest(
        subject=info.subject,
        subject_revision=info.revision,
        dataset=NAME,
        dataset_revision=dataset.revision,
        dataset_size=dataset.size,
        top=min(TOP, dataset.size),
        layers=tuple(
            StoredLayer(name=layer.name, units=layer.units, map_height=layer.map_height, map_width=layer.map_width)
            for layer in info.layers
        ),
    )


async def _measure(
    stub: subject_pb2_grpc.SubjectServiceAsyncStub, manifest: Manifest, dataset: SceneDataset, progress: Progress
) -> tuple[list[_LayerPass], NDArray[np.float64]]:
    layers = _passes(manifest)
    frames = np.zeros((dataset.size, 4))
    async with aclosing(_batches(stub, manifest, dataset)) as batches:
        async for batch in batches:
            for offset, picture in enumerate(batch.response.pictures):
                frame = picture.frame
                frames[batch.start + offset] = (frame.left, frame.top, frame.right, frame.bottom)
            for layer in layers:
                activations, maps = _unpacked(batch.response.pictures, layer)
                layer.top.add(batch.start, activations, maps)
                layer.counts.add(maps)
            progress("measuring", batch.start + len(batch.response.pictures), dataset.size)
    return layers, frames


def _passes(manifest: Manifest) -> list[_LayerPass]:
    ends = list(accumulate(layer.units for layer in manifest.layers))
    return [
        _LayerPass(
            layer,
            slice(end - layer.units, end),
            TopPictures(layer.units, manifest.top, (layer.map_height, layer.map_width)),
            ValueCounts(layer.units),
        )
        for layer, end in zip(manifest.layers, ends, strict=True)
    ]


async def _batches(
    stub: subject_pb2_grpc.SubjectServiceAsyncStub, manifest: Manifest, dataset: SceneDataset
) -> AsyncGenerator[_Batch, None]:
    """Measure all units, batch after batch in order; the next is asked for before the last is worked up."""
    picture_bytes = sum(layer.units * (2 * layer.map_height * layer.map_width + 16) for layer in manifest.layers)
    size = max(1, min(_BATCH, _ANSWER_BYTES // picture_bytes))
    units = [type_pb2.Unit(layer=layer.name, index=i) for layer in manifest.layers for i in range(layer.units)]

    async def ask(start: int) -> _Batch:
        indices = range(start, min(start + size, dataset.size))
        request = subject_pb2.MeasureUnitsRequest(
            subject=manifest.subject, units=units, pictures=[png_picture(dataset.read(index)) for index in indices]
        )
        with translated(server="subject server"):
            response = await stub.MeasureUnits(request, timeout=_DEADLINE_S)
        if [len(picture.units) for picture in response.pictures] != [len(units)] * len(indices):
            raise InternalError("the subject server answered for other pictures or units than it was asked about")
        return _Batch(start, response)

    starts = range(0, dataset.size, size)
    following = asyncio.create_task(ask(starts[0]))
    try:
        for start in starts[1:]:
            current, following = following, asyncio.create_task(ask(start))
            try:
                yield await current
            finally:
                current.cancel()
        yield await following
    finally:
        following.cancel()


def _unpacked(
    pictures: Sequence[subject_pb2.PictureMeasurement], layer: _LayerPass
) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
    """Return activations, shape (pictures, units), and maps, shape (pictures, units, h, w), of one layer."""
    measured = [picture.units[layer.span] for picture in pictures]
    activations = np.array([[unit.activation for unit in units] for units in measured], np.float32)
    if not np.isfinite(activations).all():
        unit = int(np.argwhere(~np.isfinite(activations))[0, 1])
        raise InternalError(f"{layer.layer.name} {unit} answered a number that is not finite; it has no exemplars")
    joined = b"".join(unit.map.values for units in measured for unit in units)
    shape = (*activations.shape, layer.layer.map_height, layer.layer.map_width)
    if len(joined) != 2 * int(np.prod(shape)):
        raise InternalError(f"the maps of {layer.layer.name} are not of the size that the subject says they have")
    return activations, np.frombuffer(joined, "<f2").reshape(shape)
