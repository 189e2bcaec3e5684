"""Every RPC that our servers answer, found in the contracts, so that a new one is fuzzed by itself."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from grpc_health.v1 import health_pb2

PROTOS: Final = Path(__file__).parents[3] / "protos"


def _files() -> Iterator[FileDescriptor]:
    for proto in sorted(PROTOS.glob("maia/*/v*/*.proto")):
        module = ".".join(proto.relative_to(PROTOS).with_suffix("").parts) + "_pb2"
        yield importlib.import_module(module).DESCRIPTOR
    yield health_pb2.DESCRIPTOR


METHODS: Final[tuple[MethodDescriptor, ...]] = tuple(
    method for file in _files() for service in file.services_by_name.values() for method in service.methods
)

UNARY: Final = tuple(method for method in METHODS if not method.client_streaming)
"""Those with one request."""


def path_of(method: MethodDescriptor) -> str:
    """Return the name of a method on the wire."""
    return f"/{method.containing_service.full_name}/{method.name}"
