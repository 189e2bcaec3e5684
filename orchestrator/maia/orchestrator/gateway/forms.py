"""Arguments and results as the journal keeps them: for readers, as a digest, and exactly."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from maia.execution.v1 import execution_pb2
from maia.orchestrator.errors import JournalError
from maia.orchestrator.images import ImageTable
from maia.sandbox import ImageRef, Namespace, Pixels, ProtocolError, ToolError
from maia.sandbox.protocol.values import decode_value, encode_value

MAX_TEXT: Final = 2000
MAX_ITEMS: Final = 500
"""Bounds of the readable form; the digest and the exact form know none."""


def for_readers(value: object) -> Any:  # noqa: ANN401, PLR0911  any JSON; a line per type
    """Return a value as JSON that a person can read, images as {"image": id}; long texts and lists are cut."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}… ({len(value):,} characters)"
        case ImageRef():
            return {"image": value.id}
        case list() | tuple():
            items = [for_readers(item) for item in value[:MAX_ITEMS]]
            return items if len(value) <= MAX_ITEMS else [*items, f"… ({len(value):,} items)"]
        case dict():
            return {str(key)[:MAX_TEXT]: for_readers(item) for key, item in list(value.items())[:MAX_ITEMS]}
        case Namespace():
            return {"object": value.name}
        case np.ndarray():
            return {"array": f"{value.dtype} {value.shape}"}
        case Pixels():
            return {"pixels": f"{value.mode} {value.width}×{value.height}"}
        case _:
            return {"value": type(value).__name__}


def digest(name: str, arguments: Mapping[str, object], images: ImageTable) -> str:
    """Return what identifies a call: SHA-256 over its name and arguments, images by their content.

    Lists and tuples count alike, as they do for tools.
    """
    canonical = json.dumps([name, {key: _canonical(value, images) for key, value in arguments.items()}], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def exact(value: object) -> str:
    """Return a result exactly as the guest gets it: the serialised `maia.execution.v1.Value` in base64."""
    return base64.b64encode(encode_value(value).SerializeToString(deterministic=True)).decode("ascii")


def recalled(text: str) -> object:
    """Return the result that `exact` has written.

    Raises:
        JournalError: It is none.
    """
    try:
        return decode_value(execution_pb2.Value.FromString(base64.b64decode(text, validate=True)))
    except (binascii.Error, DecodeError, ProtocolError) as error:
        raise JournalError(f"a result in the journal cannot be read: {error}") from error


def _canonical(value: object, images: ImageTable) -> object:  # noqa: PLR0911  a line per type
    match value:
        case list() | tuple():
            return [_canonical(item, images) for item in value]
        case dict():
            return {"dict": [[_canonical(key, images), _canonical(item, images)] for key, item in value.items()]}
        case ImageRef():
            return _image(value, images)
        case np.ndarray():
            return {"array": [str(value.dtype), list(value.shape), _sha256(value.tobytes())]}
        case bytes():
            return {"bytes": _sha256(value)}
        case Pixels():
            return {"pixels": [value.mode, value.width, value.height, _sha256(value.data)]}
        case Namespace():
            return {"object": value.name}
        case _:
            return value


def _image(ref: ImageRef, images: ImageTable) -> object:
    try:
        return images.identity(ref.id)
    except ToolError:  # a made-up reference: the call will be refused, and is journaled all the same
        return {"unknown": ref.id}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
