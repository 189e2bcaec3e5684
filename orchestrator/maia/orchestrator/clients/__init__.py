"""Typed clients of the five tool servers: our values in, our values out, our errors.

No protobuf message and no gRPC error leaves this package. Every call takes `Terms`, the deadline among them.
"""

from maia.orchestrator.clients.calling import Connection, Terms
from maia.orchestrator.clients.description import Describer, DescriptionClient, Region
from maia.orchestrator.clients.editing import EditedPicture, EditingClient, EditItem, Editor
from maia.orchestrator.clients.exemplars import Exemplar, ExemplarsClient, ExemplarSet, TopPictures
from maia.orchestrator.clients.generation import GeneratedPicture, GenerateItem, GenerationClient, Generator
from maia.orchestrator.clients.servers import SERVER_NAMES, Addresses, Servers, open_servers, ready_within_s
from maia.orchestrator.clients.subject import (
    Ablation,
    Effect,
    Layer,
    LayerKind,
    Pooling,
    Response,
    SubjectClient,
    SubjectInfo,
    Unit,
)

__all__ = [
    "SERVER_NAMES",
    "Ablation",
    "Addresses",
    "Connection",
    "Describer",
    "DescriptionClient",
    "EditItem",
    "EditedPicture",
    "EditingClient",
    "Editor",
    "Effect",
    "Exemplar",
    "ExemplarSet",
    "ExemplarsClient",
    "GenerateItem",
    "GeneratedPicture",
    "GenerationClient",
    "Generator",
    "Layer",
    "LayerKind",
    "Pooling",
    "Region",
    "Response",
    "Servers",
    "SubjectClient",
    "SubjectInfo",
    "Terms",
    "TopPictures",
    "Unit",
    "open_servers",
    "ready_within_s",
]
