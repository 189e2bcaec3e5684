"""The gRPC half of the editing server."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import grpc
from typing_extensions import override

from maia.editing.v1 import editing_pb2, editing_pb2_grpc
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.requests import check_count, check_prompt, picture_batches
from maia.services.editing.model import Edit, Edited, Editor
from maia.wire.deadline import Deadline
from maia.wire.pictures import decode_picture, png_picture
from maia.wire.server import Hosted

BATCH: Final = 8
"""Pictures that are edited in one go."""

_Context = grpc.aio.ServicerContext


class EditingServicer(editing_pb2_grpc.EditingServiceServicer):
    """Answers for one editor."""

    def __init__(self, editor: Editor, thread: ModelThread) -> None:
        self._editor = editor
        self._thread = thread

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
        deadline = Deadline.of(context)
        response = editing_pb2.EditImagesResponse()
        for batch in await picture_batches([item.picture for item in request.items], BATCH):
            work = partial(self._edit, request.items, batch)
            for edited in await self._thread.run(work, deadline, doing="editing"):
                response.images.add(picture=png_picture(edited.png), warnings=edited.warnings)
        return response

    def _edit(self, items: Sequence[editing_pb2.EditItem], batch: range) -> list[Edited]:
        edits = [
            Edit(item.picture.data, decode_picture(item.picture, index=index), item.instruction, item.seed)
            for index, item in ((index, items[index]) for index in batch)
        ]
        return self._editor.edit(edits)


def editing_service(editor: Editor, thread: ModelThread) -> Hosted:
    """Return the service for a server to host."""
    return Hosted(
        editing_pb2.DESCRIPTOR.services_by_name["EditingService"],
        editing_pb2_grpc.add_EditingServiceServicer_to_server,
        EditingServicer(editor, thread),
    )
