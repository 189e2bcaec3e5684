"""Pictures out of the store."""

from __future__ import annotations

from maia.services.exemplars.layer import ExemplarLayer
from maia.services.exemplars.model import KeptPicture
from maia.services.interchange.failures import shown
from maia.wire.errors import InternalError, InvalidRequestError
from maia.wire.pictures import Rgb, decode

__all__ = ["stored_picture"]


def stored_picture(layer: ExemplarLayer, picture: KeptPicture) -> Rgb:
    """Decode a picture of a set.

    Raises:
        InternalError: EXEMPLARS_DAMAGED: it is none.
    """
    try:
        return decode(picture.data, index=picture.index)
    except InvalidRequestError as error:
        raise InternalError(
            f"{error.message}; remove {shown(layer.folder)}, and build or import the exemplars again",
            reason="EXEMPLARS_DAMAGED",
            metadata={"path": str(layer.folder)},
        ) from error
