"""The gRPC half of the editing server."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import grpc
from typing_extensions import override

from maia.editing.v1 import editing_pb2, editing_pb2_grpc
from maia.services._runtime.jobs import BatchLimits, Key
from maia.services._runtime.making import Making, Order
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.requests import (
    check_count,
    check_fits,
    check_prompt,
    check_words,
    picture_sizes,
    principal_of,
)
from maia.services._runtime.results import ResultStore, result_key
from maia.services.editing.model import Edit, Editor
from maia.wire.deadline import Deadline
from maia.wire.limits import MAX_BATCH_PIXELS
from maia.wire.pictures import decode_picture, png_picture
from maia.wire.server import Hosted

BATCHES: Final = BatchLimits(most=8, most_weight=MAX_BATCH_PIXELS, waiting=1024)
"""Weighed in pixels: a small file can hold a huge picture, so that a count alone would not bound the memory."""

_Asked: TypeAlias = tuple[editing_pb2.EditItem, int]

_Context = grpc.aio.ServicerContext


class EditingServicer(editing_pb2_grpc.EditingServiceServicer):
    """Answers for one editor, from what it made before where that was kept."""

    def __init__(self, editor: Editor, making: Making[_Asked, Edit]) -> None:
        self._editor = editor
        self._making = making

    @override
    async def GetEditor(
        self, request: editing_pb2.GetEditorRequest, context: _Context[Any, Any]
    ) -> editing_pb2.GetEditorResponse:
        info = self._editor.info
        return editing_pb2.GetEditorResponse(
            editor=info.name, revision=info.revision, instruction_guide=info.instruction_guide
        )

    @override
    async def EditImages(
        self, request: editing_pb2.EditImagesRequest, context: _Context[Any, Any]
    ) -> editing_pb2.EditImagesResponse:
        check_count(request.items, "item")
        for index, item in enumerate(request.items):
            check_prompt(item.instruction, index)
            if not self._editor.info.takes_empty:
                check_words(item.instruction, index)
        keys = [self._key(item) for item in request.items]
        sizes = await asyncio.to_thread(picture_sizes, [item.picture for item in request.items])
        name = self._editor.info.name
        orders: dict[str, Order[_Asked]] = {}
        for index, (key, item, size) in enumerate(zip(keys, request.items, sizes, strict=True)):
            # An error names the first of equal ones.
            orders.setdefault(key, Order((item, index), Key(name, self._editor.key(size)), weight=size.pixels))
        edited = await self._making.make(orders, principal_of(context), Deadline.of(context))
        check_fits([edited[key].png for key in keys])
        response = editing_pb2.EditImagesResponse()
        for key in keys:
            response.images.add(picture=png_picture(edited[key].png), warnings=edited[key].warnings)
        return response

    def _key(self, item: editing_pb2.EditItem) -> str:
        info = self._editor.info
        return result_key(
            task="editing",
            by=info.name,
            revision=info.revision,
            media_type=item.picture.media_type,
            picture=hashlib.sha256(item.picture.data).hexdigest(),
            instruction=item.instruction,
            seed=item.seed,
        )


@asynccontextmanager
async def editing_service(
    editor: Editor,
    thread: ModelThread,
    results: ResultStore,
    limits: BatchLimits = BATCHES,
    metrics: Metrics | None = None,
) -> AsyncIterator[Hosted]:
    """Give the service for a server to host; its queue ends with the context."""
    async with Making(
        _decoded, editor.edit, thread, results, doing="editing", limits=limits, metrics=metrics
    ) as making:
        yield _hosted(EditingServicer(editor, making))


def _decoded(asked: _Asked) -> Edit:
    item, index = asked
    rgb = decode_picture(item.picture, index=index)
    return Edit(item.picture.data, rgb, item.instruction, item.seed, index)


def _hosted(servicer: EditingServicer) -> Hosted:
    return Hosted(
        editing_pb2.DESCRIPTOR.services_by_name["EditingService"],
        editing_pb2_grpc.add_EditingServiceServicer_to_server,
        servicer,
    )
