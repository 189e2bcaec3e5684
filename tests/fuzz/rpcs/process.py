"""The process that is fuzzed, whose log is read afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from tests.fuzz.rpcs.contracts import METHODS, path_of
from tests.fuzz.rpcs.hostile import PICTURE

from maia.description.v1 import description_pb2
from maia.editing.v1 import editing_pb2
from maia.execution.v1 import execution_pb2
from maia.exemplars.v1 import exemplars_pb2
from maia.generation.v1 import generation_pb2
from maia.subject.v1 import subject_pb2
from maia.type.v1 import type_pb2
from maia.wire.limits import MAX_MESSAGE_BYTES

_PICTURE = type_pb2.Picture(data=PICTURE, media_type="image/png")
_UNIT = type_pb2.Unit(layer="mono", index=23)

GOOD: Final[dict[str, Message]] = {
    path_of(method): request
    for method in METHODS
    for name, request in {
        "MeasureUnits": subject_pb2.MeasureUnitsRequest(subject="scene-neurons", pictures=[_PICTURE], units=[_UNIT]),
        "GenerateImages": generation_pb2.GenerateImagesRequest(
            items=[generation_pb2.GenerateItem(prompt="a red circle", seed=1)]
        ),
        "EditImages": editing_pb2.EditImagesRequest(
            items=[editing_pb2.EditItem(picture=_PICTURE, instruction="remove the circle", seed=1)]
        ),
        "GetExemplars": exemplars_pb2.GetExemplarsRequest(subject="scene-neurons", unit=_UNIT, count=2),
        "DescribeImages": description_pb2.DescribeImagesRequest(items=[description_pb2.DescribeItem(picture=_PICTURE)]),
        "GetHost": execution_pb2.GetHostRequest(),
        "Check": health_pb2.HealthCheckRequest(),
    }.items()
    if method.name == name
}
"""A request of each service that is answered, and always the same."""


@dataclass(frozen=True)
class Server:
    """The process, and a channel to it."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path
    channel: Any  # a grpc.Channel; its stubs know no calls of plain bytes

    def good(self, method: MethodDescriptor) -> bytes:
        """Return the answer to the good request of a service."""
        call = self.channel.unary_unary(path_of(method), None, GetMessageClass(method.output_type).FromString)
        answer = call(GOOD[path_of(method)].SerializeToString(), timeout=60)
        return bytes(answer.SerializeToString(deterministic=True))

    def faults(self) -> str:
        """Return what its log tells of a fault since the last call."""
        text = self.log.read_text(errors="replace")
        os.truncate(self.log, 0)
        return text if '"level": "error"' in text or "Traceback" in text else ""


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Start the process, and end it."""
    log = folder / "log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.rpcs.program", str(folder)],
            env={name: value for name, value in os.environ.items() if not name.startswith("MAIA_")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            line = process.stdout.readline()
            assert line, log.read_text()
            options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
            address = str(json.loads(line)["address"])
            with grpc.insecure_channel(address, options) as channel:
                yield Server(address, process, log, channel)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
