"""The first inputs of each target: small, whole, one for each thing that the format can say.

`python -m tests.fuzz.seeds` writes them to the corpus, beside what fuzzing has found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.protocol.types import ImageRef, Namespace, Pixels
from maia.sandbox.protocol.values import encode_value

__all__ = ["CORPUS", "SEEDS"]

CORPUS: Final = Path(__file__).parent / "corpus"

_VALUES: Final[dict[str, object]] = {
    "none": None,
    "boolean": True,
    "integer": -3,
    "big_integer": 2**70,
    "real": 0.5,
    "text": "é\0\N{PILE OF POO}",
    "data": b"\x80\x04N.",
    "list": [1, [2, [3, []]]],
    "tuple": ((), (1, (2,))),
    "map": {"a": 1, 2: {"b": None}, (1, "x"): 0.5, None: b""},
    "image": ImageRef("a1", 3, 2),
    "pixels": Pixels("RGB", 2, 1, b"rgbRGB"),
    "array": np.arange(6, dtype="<f4").reshape(2, 3),
    "array_without_items": np.zeros((0, 7), dtype="|u1"),
    "array_without_sides": np.array(3, dtype="<i8"),
    "namespace": Namespace("system"),
    "mixed": [{"prompts": ["a red lamp", "a dog"], "size": 512}, (ImageRef("x", 1, 1), np.ones(2, dtype="<f2"))],
}

_MALFORMED: Final[dict[str, pb.Value]] = {
    "without_content": pb.Value(),
    "objects_in_an_array": pb.Value(array=pb.Array(dtype="|O", shape=[1], data=b"\x80\x04N.")),
    "shape_beyond_counting": pb.Value(array=pb.Array(dtype="<f8", shape=[2**62, 4])),
    "unknown_mode": pb.Value(pixels=pb.Pixels(mode="P", width=1, height=1, data=b"1")),
    "image_without_id": pb.Value(image=pb.ImageRef(width=1, height=1)),
    "digits_that_are_none": pb.Value(big_integer="1e5"),
    "unhashable_key": pb.Value(map=pb.Mapping(entries=[pb.MapEntry(key=pb.Value(list=pb.Sequence()))])),
}

_FRAMES: Final[dict[str, pb.GuestFrame]] = {
    "ready": pb.GuestFrame(ready=pb.GuestReady()),
    "checkpointed": pb.GuestFrame(checkpointed=pb.Checkpointed(made=True)),
    "block_ended": pb.GuestFrame(block_ended=pb.GuestBlockEnded(block_id=1, status=pb.STATUS_EXCEPTION, message="no")),
    "call_without_arguments": pb.GuestFrame(tool_call=pb.ToolCall(call_id=1, name="search")),
    "call_of_everything": pb.GuestFrame(
        tool_call=pb.ToolCall(
            call_id=2,
            name="tools.edit",
            arguments=[encode_value(value) for value in _VALUES.values()],
            keywords={"size": encode_value(512), "": encode_value(None)},
        )
    ),
    "call_with_malformed_arguments": pb.GuestFrame(
        tool_call=pb.ToolCall(call_id=2**64 - 1, name="_image.pixels", arguments=list(_MALFORMED.values()))
    ),
}

SEEDS: Final[dict[str, dict[str, bytes]]] = {
    "frame": {name: message.SerializeToString(deterministic=True) for name, message in _FRAMES.items()},
    "value": {
        **{name: encode_value(value).SerializeToString() for name, value in _VALUES.items()},
        **{name: message.SerializeToString() for name, message in _MALFORMED.items()},
    },
}
"""By target and name."""


def main() -> None:
    """Write the seeds to the corpus."""
    for target, seeds in SEEDS.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
