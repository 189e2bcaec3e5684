"""A server process for test_server_process: answers GetGenerator at once and GenerateImages after a while."""

from __future__ import annotations

import asyncio
import os
import sys

from typing_extensions import override

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.wire.errors import MaiaError
from maia.wire.logs import configure_logs
from maia.wire.server import Hosted, ServerOptions, serve


class Servicer(generation_pb2_grpc.GenerationServiceServicer):
    @override
    async def GetGenerator(self, request: object, context: object) -> generation_pb2.GetGeneratorResponse:
        return generation_pb2.GetGeneratorResponse(generator="process", revision=str(os.getpid()))

    @override
    async def GenerateImages(
        self, request: generation_pb2.GenerateImagesRequest, context: object
    ) -> generation_pb2.GenerateImagesResponse:
        if request.items:
            raise ValueError("a secret of the server")
        await asyncio.sleep(1.0)
        return generation_pb2.GenerateImagesResponse()


if __name__ == "__main__":
    configure_logs(level="debug", log_format="json")
    service = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"]
    add = generation_pb2_grpc.add_GenerationServiceServicer_to_server
    listen = sys.argv[sys.argv.index("--listen") + 1] if "--listen" in sys.argv else "127.0.0.1:0"
    options = ServerOptions(
        listen, drain_s=float(sys.argv[1]), announce=True, end_with_stdin="--end-with-stdin" in sys.argv
    )
    try:
        asyncio.run(serve("generation", [Hosted(service, add, Servicer())], options))
    except MaiaError as error:
        sys.exit(error.message)
