"""What a subject server refuses before it loads anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.subject.hosting import host
from maia.services.subject.settings import SubjectSettings
from maia.wire.errors import InvalidRequestError, MaiaError, NotFoundError


async def refused(**settings: Any) -> MaiaError:
    with ModelThread("test") as thread, pytest.raises(MaiaError) as caught:
        await host(SubjectSettings(**settings), thread, Metrics()).__aenter__()
    return caught.value


async def test_an_unknown_name_is_refused_also_on_demand() -> None:
    for settings in ({"model": ("resnet-152",)}, {"model": ("scene-neurons",), "on_demand": ("timm:",)}):
        error = await refused(**settings)
        assert isinstance(error, NotFoundError)
        assert "resnet152" in error.metadata["valid"]
        assert "scene-neurons" in error.metadata["valid"]


@pytest.mark.parametrize("files", [{"weights": Path("w.pt")}, {"directions": "layer4=d.safetensors"}])
@pytest.mark.parametrize("model", [("scene-neurons",), ("resnet152", "dino_vits8")])
async def test_weights_and_directions_are_one_networks(files: dict[str, Any], model: tuple[str, ...]) -> None:
    error = await refused(model=model, **files)
    assert isinstance(error, InvalidRequestError)
    assert error.reason == "SETTING_INVALID"


def settings_of(**values: Any) -> SubjectSettings:
    return SubjectSettings(**values)


@pytest.mark.parametrize("sizes", ["0,4", "4,2", "2,2", "x"])
def test_buckets_ascend(sizes: str) -> None:
    with pytest.raises(ValidationError):
        settings_of(batch_buckets=sizes)
    assert settings_of(batch_buckets="1,4").batch_buckets == (1, 4)


def test_directions_name_their_layer_or_leave_it_to_the_file() -> None:
    one, other = settings_of(directions="layer4=a.safetensors, b.safetensors").network.directions
    assert (one.layer, one.path) == ("layer4", Path("a.safetensors"))
    assert (other.layer, other.path) == (None, Path("b.safetensors"))
