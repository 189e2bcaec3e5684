"""Five small servers behind one real gRPC port, and a run that uses them.

The subject's only unit measures red: its activation is the mean of the red channel, its map the four quadrants' means.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typing_extensions import override

from maia.description.v1 import description_pb2, description_pb2_grpc
from maia.editing.v1 import editing_pb2, editing_pb2_grpc
from maia.exemplars.v1 import exemplars_pb2, exemplars_pb2_grpc
from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.orchestrator.clients import Addresses, Servers, Terms, open_servers
from maia.orchestrator.conversation import Part, Picture
from maia.orchestrator.events import Event, UnitName
from maia.orchestrator.gateway import Gateway, GatewayLimits
from maia.orchestrator.images import ImageTable
from maia.orchestrator.journal import JournalReader, JournalWriter
from maia.orchestrator.record import Record
from maia.orchestrator.toolbox import Call, Study, Toolbox, run_tag
from maia.sandbox import ImageRef
from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.wire.errors import MaiaError, NotFoundError
from maia.wire.maps import Frame, map_to_proto
from maia.wire.pictures import decode, decode_picture, encode_png, png_picture
from maia.wire.server import Hosted, running

UNIT = UnitName("reds", "layer1", 3)
WIDTH, HEIGHT = 32, 24


def plain(red: int, green: int = 0, blue: int = 0, *, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    return np.full((height, width, 3), (red, green, blue), np.uint8)


def quadrants(rgb: NDArray[np.uint8]) -> NDArray[np.float16]:
    red = rgb[..., 0].astype(np.float32)
    height, width = red.shape[0] // 2, red.shape[1] // 2
    rows = (red[:height], red[height:])
    return np.array([[row[:, :width].mean(), row[:, width:].mean()] for row in rows]).astype(np.float16)


@dataclass
class World:
    """What the servers were asked, and how they are to answer.

    `failures` are raised by the next calls, one each, whatever they ask.
    """

    asked: list[Any] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    failures: list[MaiaError] = field(default_factory=list)
    exemplars: bool = True
    threshold: float = 100.0
    broken_picture: bool = False
    more_layers: list[subject_pb2.Layer] = field(default_factory=list)
    classes_after: int = 2

    def hear(self, request: Any, context: Any) -> None:
        self.asked.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.failures:
            raise self.failures.pop(0)

    def of(self, kind: type[Any]) -> list[Any]:
        return [request for request in self.asked if isinstance(request, kind)]


class Subject(subject_pb2_grpc.SubjectServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    @override
    async def ListSubjects(self, request: Any, context: Any) -> subject_pb2.ListSubjectsResponse:
        return subject_pb2.ListSubjectsResponse(subjects=["reds", "greens"], loaded=["reds"])

    @override
    async def GetSubject(self, request: Any, context: Any) -> subject_pb2.GetSubjectResponse:
        self.world.hear(request, context)
        if request.subject != "reds":
            raise NotFoundError("no such subject", reason="SUBJECT_UNKNOWN", metadata={"valid": "reds"})
        kind = subject_pb2.LAYER_KIND_CHANNEL
        layers = [subject_pb2.Layer(name="layer1", units=8, map_height=2, map_width=3, kind=kind)]
        return subject_pb2.GetSubjectResponse(
            subject="reds",
            title="Red.",
            layers=[*layers, *self.world.more_layers],
            input_size=16,
            revision="r1",
            precision="bfloat16",
            classes=["red", "other"],
        )

    @override
    async def AblateUnit(self, request: Any, context: Any) -> subject_pb2.AblateUnitResponse:
        """A picture is as red as its red channel; held, as the value says."""
        self.world.hear(request, context)
        reds = [float(decode_picture(one, index=index)[..., 0].mean()) for index, one in enumerate(request.pictures)]
        value = float(np.mean(reds)) if request.own_mean else request.value
        after = [value / 255, 1 - value / 255][: self.world.classes_after]
        return subject_pb2.AblateUnitResponse(
            pictures=[subject_pb2.AblatedPicture(before=[red / 255, 1 - red / 255], after=after) for red in reds],
            value=value,
            precision="bfloat16",
        )

    @override
    async def MeasureUnits(self, request: Any, context: Any) -> subject_pb2.MeasureUnitsResponse:
        self.world.hear(request, context)
        response = subject_pb2.MeasureUnitsResponse(precision="float32")
        for index, picture in enumerate(request.pictures):
            rgb = decode_picture(picture, index=index)
            measured = response.pictures.add(frame=Frame.whole(rgb.shape[1], rgb.shape[0]).to_proto())
            for _ in request.units:
                measured.units.add(activation=rgb[..., 0].mean() + 0.004, map=map_to_proto(quadrants(rgb)))
        return response


class Generation(generation_pb2_grpc.GenerationServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    @override
    async def GetGenerator(self, request: Any, context: Any) -> generation_pb2.GetGeneratorResponse:
        return generation_pb2.GetGeneratorResponse(
            generator="plain", revision="1", prompt_guide="Say anything.", width=WIDTH, height=HEIGHT
        )

    @override
    async def GenerateImages(self, request: Any, context: Any) -> generation_pb2.GenerateImagesResponse:
        self.world.hear(request, context)
        response = generation_pb2.GenerateImagesResponse()
        for item in request.items:
            colour = hashlib.sha256(f"{item.prompt} {item.seed}".encode()).digest()
            png = b"no picture" if self.world.broken_picture else encode_png(plain(colour[0], colour[1], colour[2]))
            warnings = ["cannot draw: dog"] if "dog" in item.prompt else []
            response.images.add(picture=png_picture(png), warnings=warnings)
        return response


class Editing(editing_pb2_grpc.EditingServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    @override
    async def GetEditor(self, request: Any, context: Any) -> editing_pb2.GetEditorResponse:
        return editing_pb2.GetEditorResponse(editor="inverter", revision="1", instruction_guide="Whatever.")

    @override
    async def EditImages(self, request: Any, context: Any) -> editing_pb2.EditImagesResponse:
        self.world.hear(request, context)
        response = editing_pb2.EditImagesResponse()
        for item in request.items:
            inverted = encode_png(255 - decode_picture(item.picture))
            response.images.add(picture=png_picture(inverted), warnings=["nothing to do"] if not item.seed else [])
        return response


class Exemplars(exemplars_pb2_grpc.ExemplarsServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    def check(self) -> None:
        if not self.world.exemplars:
            raise NotFoundError("none stored", reason="EXEMPLARS_MISSING")

    @override
    async def ListExemplarSets(self, request: Any, context: Any) -> exemplars_pb2.ListExemplarSetsResponse:
        one = exemplars_pb2.ExemplarSet(
            subject="reds", layer="layer1", units=8, top=15, dataset_size=2000, dataset="d", subject_revision="r1"
        )
        return exemplars_pb2.ListExemplarSetsResponse(sets=[one])

    @override
    async def GetExemplars(self, request: Any, context: Any) -> exemplars_pb2.GetExemplarsResponse:
        self.world.hear(request, context)
        self.check()
        response = exemplars_pb2.GetExemplarsResponse(threshold=self.world.threshold, subject_revision="r1")
        for rank in range(15):
            rgb = plain(0)
            rgb[: HEIGHT // 2, : WIDTH // 2, 0] = 250 - rank
            response.exemplars.add(
                picture=png_picture(encode_png(rgb)),
                activation=250 - rank,
                frame=Frame.whole(WIDTH, HEIGHT).to_proto(),
                map=map_to_proto(quadrants(rgb)),
                dataset_index=1000 + rank,
            )
        return response

    @override
    async def GetStatistics(self, request: Any, context: Any) -> exemplars_pb2.GetStatisticsResponse:
        self.world.hear(request, context)
        self.check()
        return exemplars_pb2.GetStatisticsResponse(threshold=self.world.threshold, subject_revision="r1")


class Description(description_pb2_grpc.DescriptionServiceServicer):
    """Says how many pixels it was to look at."""

    def __init__(self, world: World) -> None:
        self.world = world

    @override
    async def GetDescriber(self, request: Any, context: Any) -> description_pb2.GetDescriberResponse:
        return description_pb2.GetDescriberResponse(describer="counter", revision="1")

    @staticmethod
    def pixels(item: Any) -> int:
        if item.HasField("mask"):
            return int(np.unpackbits(np.frombuffer(item.mask.bits, np.uint8)).sum())
        return int(decode(item.picture.data)[..., 0].size)

    @override
    async def DescribeImages(self, request: Any, context: Any) -> description_pb2.DescribeImagesResponse:
        self.world.hear(request, context)
        words = [f"{self.pixels(item)}\npixels" for item in request.items]
        return description_pb2.DescribeImagesResponse(descriptions=words)

    @override
    async def SummarizeImages(self, request: Any, context: Any) -> description_pb2.SummarizeImagesResponse:
        self.world.hear(request, context)
        return description_pb2.SummarizeImagesResponse(summary=f"{len(request.items)} images")


def hosted(world: World) -> list[Hosted]:
    return [
        Hosted(
            subject_pb2.DESCRIPTOR.services_by_name["SubjectService"],
            subject_pb2_grpc.add_SubjectServiceServicer_to_server,
            Subject(world),
        ),
        Hosted(
            generation_pb2.DESCRIPTOR.services_by_name["GenerationService"],
            generation_pb2_grpc.add_GenerationServiceServicer_to_server,
            Generation(world),
        ),
        Hosted(
            editing_pb2.DESCRIPTOR.services_by_name["EditingService"],
            editing_pb2_grpc.add_EditingServiceServicer_to_server,
            Editing(world),
        ),
        Hosted(
            exemplars_pb2.DESCRIPTOR.services_by_name["ExemplarsService"],
            exemplars_pb2_grpc.add_ExemplarsServiceServicer_to_server,
            Exemplars(world),
        ),
        Hosted(
            description_pb2.DESCRIPTOR.services_by_name["DescriptionService"],
            description_pb2_grpc.add_DescriptionServiceServicer_to_server,
            Description(world),
        ),
    ]


@dataclass
class Shown:
    """A sink that keeps what it is shown."""

    parts: list[Part] = field(default_factory=list)

    def call_begins(self) -> None:
        pass

    def show(self, parts: Sequence[Part]) -> None:
        self.parts += parts


@dataclass
class Bench:
    """A run: its servers, its journal, its gateway."""

    world: World
    folder: Path
    servers: Servers
    record: Record
    images: ImageTable
    study: Study
    shown: Shown
    gateway: Gateway
    numbers: int = 0

    def tools(self) -> Any:
        """The tools as a new call sees them."""
        self.numbers += 1
        return Toolbox(self.study, Call(self.numbers, Terms.within(20)))

    def picture(self, red: int, green: int = 0, blue: int = 0) -> ImageRef:
        png = encode_png(plain(red, green, blue))
        return self.images.add(Picture(png, "image/png", WIDTH, HEIGHT), {"tool": "test"})

    def events(self, *kinds: type[Any]) -> list[Any]:
        events: tuple[Event, ...] = JournalReader(self.folder).events
        return [event for event in events if not kinds or isinstance(event, kinds)]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    async with running(hosted(world)) as server:
        yield server.address


@pytest.fixture
async def servers(address: str) -> AsyncIterator[Servers]:
    async with open_servers(Addresses(address, address, address, address, address)) as opened:
        yield opened


@pytest.fixture
async def bench(world: World, servers: Servers, tmp_path: Path) -> AsyncIterator[Bench]:
    with JournalWriter(tmp_path) as journal:
        record = Record(journal)
        images = ImageTable(record, tag=run_tag(7, UNIT))
        study = Study(servers, images, UNIT, "r1", seed=7)
        shown = Shown()
        gateway = Gateway(study, record, shown, GatewayLimits(patience_s=2.0))
        yield Bench(world, tmp_path, servers, record, images, study, shown, gateway)
