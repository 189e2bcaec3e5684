"""A small lab: an authority with its certificates, a stranger's, and servers that take them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import structlog
from pydantic import SecretStr
from typing_extensions import override

from maia.generation.v1 import generation_pb2 as pb
from maia.generation.v1 import generation_pb2_grpc
from maia.wire import certificates
from maia.wire.access import authenticated_client
from maia.wire.certificates import files_of, make_certificates
from maia.wire.server import Hosted
from maia.wire.tls import ClientCredentials, ServerCredentials, TokenSource


class Naming(generation_pb2_grpc.GenerationServiceServicer):
    """Answers with the name of whoever asks."""

    @override
    async def GetGenerator(self, request: object, context: object) -> pb.GetGeneratorResponse:
        return pb.GetGeneratorResponse(generator=authenticated_client())

    @override
    async def GenerateImages(self, request: pb.GenerateImagesRequest, context: object) -> pb.GenerateImagesResponse:
        return pb.GenerateImagesResponse()


def naming() -> Hosted:
    descriptor = pb.DESCRIPTOR.services_by_name["GenerationService"]
    return Hosted(descriptor, generation_pb2_grpc.add_GenerationServiceServicer_to_server, Naming())


@contextmanager
def days_ago(days: float) -> Iterator[None]:
    """Certificates made within are made that long ago."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(days)
    with mock.patch.object(certificates, "_now", return_value=now):
        yield


def made(folder: Path, *, ago: float = 0, days: int = 90, clients: tuple[str, ...] = ()) -> Path:
    with days_ago(ago):
        make_certificates(folder, hosts={}, days=days, clients=clients, renew_within_days=0)
    return folder


def server_of(folder: Path, name: str = "generation") -> ServerCredentials:
    ca, certificate, key = files_of(folder, name)
    return ServerCredentials(certificate, key, ca)


def client_of(folder: Path, name: str = "orchestrator", *, token: str | None = None) -> ClientCredentials:
    return ClientCredentials(*files_of(folder, name), TokenSource(SecretStr(token)) if token else None)


@contextmanager
def logged() -> Iterator[list[dict[str, object]]]:
    with structlog.testing.capture_logs() as lines:
        yield lines  # type: ignore[misc]  # EventDict is a mapping of anything
