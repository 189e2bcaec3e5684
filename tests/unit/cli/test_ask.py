"""Which unit a question is about."""

import pytest

from maia.cli.ask import named_unit
from maia.cli.errors import CommandError


@pytest.mark.parametrize(
    ("question", "unit"),
    [
        ("Does layer4:122 respond to ties or to collars?", "layer4=122"),
        ("Is (layer4=7) about colour?", "layer4=7"),
        ("At 10:30 or in 16:9, does blocks.11.mlp:5?", "blocks.11.mlp=5"),
        ("layer4:7, or rather layer4:7?", "layer4=7"),
        ("What of visual.layer3-1:07.", "visual.layer3-1=7"),
    ],
)
def test_the_unit_is_taken_from_the_sentence(question: str, unit: str) -> None:
    assert named_unit(question) == unit


@pytest.mark.parametrize(
    "question",
    ["Does it respond to ties?", "At 10:30?", "See http://x:80/a:3/b", "layer4 unit 3?", "layer4:3.5", "mono:x"],
)
def test_a_sentence_without_a_unit_is_refused_with_how_to_name_one(question: str) -> None:
    with pytest.raises(CommandError, match="--units layer4=122"):
        named_unit(question)


def test_a_sentence_with_several_units_is_refused_with_their_names() -> None:
    with pytest.raises(CommandError, match=r"layer4=1, layer3=2; .*--units layer4=1"):
        named_unit("Is layer4:1 as layer3:2 is?")
