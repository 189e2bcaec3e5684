"""The gRPC half of the editing server."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import grpc
from typing_extensions import override

from maia.editing.v1 import editing_pb2, editing_pb2_grpc
from maia.services._runtime.abandonment import Abandonment
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.requests import check_count, check_prompt, picture_batches
from maia.services._runtime.results import MadePicture, ResultStore, result_key
from maia.services._runtime.words import check_words
from maia.services.editing.model import Edit, Editor
from maia.wire.deadline import Deadline
from maia.wire.errors import MaiaError
from maia.wire.pictures import decode_picture, png_picture
from maia.wire.server import Hosted

BATCH: Final = 8
"""Pictures that are edited in one go."""

_Context = grpc.aio.ServicerContext


class EditingServicer(editing_pb2_grpc.EditingServiceServicer):
    """Answers for one editor, from what it made before where that was kept."""

    def __init__(self, editor: Editor, thread: ModelThread, results: ResultStore) -> None:
        self._editor = editor
        self._thread = thread
        self._results = results

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
        edited = await self._edited(request.items, keys, Deadline.of(context))
        response = editing_pb2.EditImagesResponse()
        for key in keys:
            response.images.add(picture=png_picture(edited[key].png), warnings=edited[key].warnings)
        return response

    async def _edited(
        self, items: Sequence[editing_pb2.EditItem], keys: Sequence[str], deadline: Deadline
    ) -> Mapping[str, MadePicture]:
        """Make the edits that are not kept; a batch is kept as soon as it is made, whatever becomes of the next."""
        edited = await self._results.recall(keys)
        missing = {key: index for index, key in enumerate(keys) if key not in edited}
        for places in await picture_batches([item.picture for item in items], BATCH):
            batch = [index for index in places if missing.get(keys[index]) == index]
            if not batch:
                continue
            with Abandonment(deadline) as abandoned:
                work = partial(self._edit, items, batch, abandoned)
                made = await self._thread.run(work, deadline, doing="editing")
            edited |= await self._results.keep({keys[index]: one for index, one in made.items()})
        return edited

    def _edit(
        self, items: Sequence[editing_pb2.EditItem], batch: Sequence[int], abandoned: Abandoned
    ) -> dict[int, MadePicture | MaiaError]:
        """Edit the items of a batch, those together that may be; return the results by the items' indices."""
        together: dict[Hashable, list[Edit]] = {}
        for index in batch:
            item = items[index]
            rgb = decode_picture(item.picture, index=index)
            edit = Edit(item.picture.data, rgb, item.instruction, item.seed, index)
            together.setdefault(self._editor.key(edit), []).append(edit)
        return {
            edit.index: made
            for edits in together.values()
            for edit, made in zip(edits, self._editor.edit(edits, abandoned), strict=True)
        }

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


def editing_service(editor: Editor, thread: ModelThread, results: ResultStore) -> Hosted:
    """Return the service for a server to host."""
    return Hosted(
        editing_pb2.DESCRIPTOR.services_by_name["EditingService"],
        editing_pb2_grpc.add_EditingServiceServicer_to_server,
        EditingServicer(editor, thread, results),
    )
