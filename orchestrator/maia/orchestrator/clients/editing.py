"""The editing server: pictures from a picture and an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maia.editing.v1 import editing_pb2, editing_pb2_grpc
from maia.orchestrator.clients.calling import Connection, Terms, sent
from maia.orchestrator.conversation import Picture


@dataclass(frozen=True, slots=True)
class Editor:
    """What edits: its name, revision, and how to write instructions for it."""

    name: str
    revision: str
    instruction_guide: str


@dataclass(frozen=True, slots=True)
class EditItem:
    """An edit to make."""

    picture: Picture
    instruction: str
    seed: int


@dataclass(frozen=True, slots=True)
class EditedPicture:
    """An edited picture, and what of its instruction could not be done, a sentence each."""

    picture: Picture
    warnings: tuple[str, ...]


class EditingClient:
    """Speaks to the editing server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = editing_pb2_grpc.EditingServiceStub(connection.channel)

    async def editor(self, terms: Terms) -> Editor:
        """Describe the editor."""
        answer = await self._connection.ask(self._stub.GetEditor, editing_pb2.GetEditorRequest(), terms)
        return Editor(answer.editor, answer.revision, answer.instruction_guide)

    async def edit(self, items: Sequence[EditItem], terms: Terms) -> list[EditedPicture]:
        """Make one picture per item, in order.

        Raises:
            InvalidRequestError: PROMPT_TOO_LONG, PICTURE_UNREADABLE or PICTURE_TOO_LARGE, metadata "index";
                REQUEST_EMPTY; MESSAGE_TOO_LARGE.
        """
        request = editing_pb2.EditImagesRequest(
            items=[
                editing_pb2.EditItem(picture=sent(item.picture), instruction=item.instruction, seed=item.seed)
                for item in items
            ]
        )
        answer = await self._connection.ask(self._stub.EditImages, request, terms)
        self._connection.expect(answer.images, len(items))
        return [
            EditedPicture(self._connection.received(image.picture), tuple(image.warnings)) for image in answer.images
        ]
