"""Each backend behind the real server: settings in, words out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.services.description.tiny_models import idefics3, saved
from tests.unit.services.description.views import item, upper_half
from tests.unit.services.runtime.vendor import Answer, serving

from maia.description.v1 import description_pb2, description_pb2_grpc
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.description import hosting
from maia.services.description.settings import DescriptionSettings
from maia.wire.channels import open_channel
from maia.wire.server import running

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[description_pb2_grpc.DescriptionServiceAsyncStub]:
    with ModelThread("test") as thread:
        async with (
            hosting.host(DescriptionSettings(**settings), thread, Metrics()) as services,
            running(services) as server,
            open_channel(server.address) as channel,
        ):
            yield description_pb2_grpc.DescriptionServiceStub(channel)


async def test_a_local_model_describes_and_summarizes(tmp_path: Path) -> None:
    saved(idefics3, tmp_path / "owner" / "model")
    shapes = [(40, 40), (100, 30), (33, 90)]
    items = [item(seed, upper_half(*shape) if seed else None, shape) for seed, shape in enumerate(shapes)]
    dark = item(7, np.zeros((16, 24), np.bool_))
    settings = {"backend": "transformers", "model": "owner/model", "model_dir": tmp_path, "max_tokens": 8}
    answers = []
    for deterministic in (False, True):
        async with served(**settings, deterministic=deterministic) as stub:
            info = await stub.GetDescriber(description_pb2.GetDescriberRequest())
            lines = await stub.DescribeImages(description_pb2.DescribeImagesRequest(items=[*items, dark]))
            summary = await stub.SummarizeImages(description_pb2.SummarizeImagesRequest(items=items))
            answers.append((info.revision, list(lines.descriptions), summary.summary))
        assert info.describer == "owner/model"
    assert answers[0] == answers[1]
    _, described, summed = answers[0]
    assert described[-1] == "nothing"
    assert summed
    assert all("\n" not in line and line for line in described)


async def test_a_vendor_is_asked_with_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIA_COMPATIBLE_API_KEY", "own-key")
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-account")
    with serving() as vendor:
        vendor.answer = lambda _: Answer(200, {"choices": [{"message": {"content": "A\nred circle."}}]})
        async with served(backend="openai", model="m", base_url=vendor.url) as stub:
            answer = await stub.DescribeImages(description_pb2.DescribeImagesRequest(items=[item(1), item(2)]))
    assert list(answer.descriptions) == ["A red circle."] * 2
    assert {request.headers["authorization"] for request in vendor.requests} == {"Bearer own-key"}
