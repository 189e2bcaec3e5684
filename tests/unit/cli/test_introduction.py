"""What is shown of subjects; that a server is asked is seen in tests/e2e."""

from __future__ import annotations

import io

from rich.console import Console

from maia.cli.introduction import record, show, show_layers
from maia.orchestrator.clients import Layer, LayerKind, SubjectInfo

LAYERS = (
    Layer("layer4", 2048, (7, 7)),
    Layer("layer4@sae", 16384, (7, 7), LayerKind.DIRECTION),
    Layer("logits", 5, (1, 1), LayerKind.CLASS),
)
CLASSES = ("tench", "gold\u202efish", "a shark that is white, large and very much longer than a cell", "ray", "cock")
INFO = SubjectInfo("resnet", "A network.", LAYERS, 224, "r1", "bfloat16", CLASSES)


def shown(width: int = 120) -> Console:
    return Console(file=io.StringIO(), width=width)


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines() if line.strip()]


def test_of_a_subject_kinds_classes_and_precision_are_shown() -> None:
    console = shown()
    show_layers(console, INFO)
    name, about, head, _, *rows = lines(console)
    assert name == "resnet: A network."
    assert about.startswith("bfloat16, input 224 × 224, revision r1, 5 classes: tench, gold[U+202E]fish, a shark")
    assert about.endswith("…")
    assert "cell" not in about
    assert head == "layer units of kind map"
    assert rows == ["layer4 2,048 channel 7 × 7", "layer4@sae 16,384 direction 7 × 7", "logits 5 class 1 × 1"]


def test_a_subject_without_classes_says_so() -> None:
    console = shown()
    show_layers(console, SubjectInfo("x", "A map.", LAYERS[:1], 8, "r2", "float32", ()))
    assert lines(console)[1].endswith("no classes")


def test_those_that_are_not_in_memory_are_named() -> None:
    console = shown()
    show(console, {"resnet": INFO, "timm:large": None})
    head, _, first, second = lines(console)
    assert head == "subject layers classes precision revision"
    assert first == "resnet 3 5 bfloat16 r1 A network."
    assert second == "timm:large – – – – loaded when somebody asks for it"


def test_records_hold_all_classes_and_layers() -> None:
    found = record("resnet", INFO)
    assert found["classes"] == list(CLASSES)
    assert found["layers"] == [
        {"layer": layer.name, "units": layer.units, "kind": layer.kind.value, "map": list(layer.map_size)}
        for layer in LAYERS
    ]
    assert record("timm:large", None) == {"subject": "timm:large", "loaded": False}
