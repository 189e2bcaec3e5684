"""The gateway: numbers, journal, notes, retries and bounds of tool calls."""

import base64
import re
from typing import Any

import numpy as np
import pytest

from maia.execution.v1 import execution_pb2
from maia.generation.v1 import generation_pb2
from maia.orchestrator.conversation import Picture, Text
from maia.orchestrator.events import BlockStarted, ImageAdded, ToolCalled, ToolReturned
from maia.orchestrator.gateway import Gateway, GatewayLimits
from maia.orchestrator.images import ImageTable
from maia.orchestrator.journal import JournalWriter
from maia.orchestrator.record import Record
from maia.orchestrator.toolbox import Study
from maia.orchestrator.workbench import Transcript
from maia.sandbox import ImageRef, Pixels, ToolError
from maia.sandbox.protocol.values import decode_value
from maia.wire.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    OverloadedError,
    UnavailableError,
)


async def call(bench: Any, name: str, *arguments: object, **keywords: object) -> Any:
    """Call a tool as a session does."""
    (tool,) = (tool for tool in bench.gateway.tools() if tool.spec.name == name)
    return await tool.call(tool.bind(arguments, keywords))


async def test_a_call_is_journaled_before_and_after(bench: Any) -> None:
    bench.record.next_block()
    (image,) = await call(bench, "tools.text2image", ["a cat"])
    called, added, returned = bench.events()
    assert isinstance(called, ToolCalled)
    assert (called.block, called.call, called.tool) == (1, 1, "tools.text2image")
    assert called.arguments == {"prompts": ["a cat"]}
    assert isinstance(added, ImageAdded)
    assert added.source["prompt"] == "a cat"
    assert isinstance(returned, ToolReturned)
    assert (returned.call, returned.result, returned.error, returned.attempts) == (1, [{"image": image.id}], "", 1)
    value = execution_pb2.Value.FromString(base64.b64decode(returned.value))
    assert decode_value(value) == [image]


async def test_calls_are_numbered_through_the_run_and_named_to_the_servers(bench: Any) -> None:
    await call(bench, "tools.text2image", "a")
    await call(bench, "tools.text2image", "a")
    assert [event.call for event in bench.events(ToolCalled)] == [1, 2]
    assert [meta["maia-call"] for meta in bench.world.metadata] == ["1", "2"]
    assert {meta["maia-run"] for meta in bench.world.metadata} == {bench.images.tag}
    first, second = (request.items[0].seed for request in bench.world.of(generation_pb2.GenerateImagesRequest))
    assert first != second


async def test_digests_tell_calls_by_content(bench: Any) -> None:
    one, twin, other = bench.picture(1), bench.picture(1), bench.picture(2)
    for given in ([one], [twin], (one,), [other], one):
        await call(bench, "system.call_neuron", given)
    await call(bench, "system.call_neuron", images=[one])
    await call(bench, "tools.display", one)
    digests = [event.digest for event in bench.events(ToolCalled)]
    assert digests[0] == digests[1] == digests[2] == digests[5]
    assert len(set(digests)) == 4


async def test_a_fault_of_the_code_is_journaled_and_raised(bench: Any) -> None:
    with pytest.raises(ToolError, match="prompts is empty"):
        await call(bench, "tools.text2image", [])
    (returned,) = bench.events(ToolReturned)
    assert (returned.error, returned.value) == ("prompts is empty; give at least one", "")


@pytest.mark.parametrize("value", [ImageRef("forged", 9, 9), Pixels("L", 2, 2, b"1234")])
async def test_a_call_that_is_refused_at_once_is_journaled_too(bench: Any, value: object) -> None:
    with pytest.raises(ToolError):
        await call(bench, "tools.display", [value])
    assert len(bench.events(ToolCalled)) == len(bench.events(ToolReturned)) == 1


async def test_arguments_that_do_not_fit_the_signature_say_so(bench: Any) -> None:
    with pytest.raises(ToolError, match=r"tools.text2image\(prompts: list\[str\]\).*missing a required argument"):
        await call(bench, "tools.text2image")
    with pytest.raises(ToolError, match="unexpected keyword"):
        await call(bench, "tools.text2image", ["a"], steps=3)


async def test_pixels_enter_the_table_before_the_call(bench: Any) -> None:
    array = np.full((24, 32, 3), 9, np.uint8)
    await call(bench, "tools.display", [Pixels("RGB", 32, 24, array.tobytes())], array, array / 255, np.zeros(3))
    added, called, _ = bench.events()
    assert isinstance(added, ImageAdded)
    assert called.arguments == {
        "items": [[{"image": added.image_id}]] + [{"image": added.image_id}] * 2 + [{"array": "float64 (3,)"}]
    }
    assert [type(part) for part in bench.shown.parts] == [Picture] * 3 + [Text]


async def test_what_servers_warn_about_is_shown_before_the_result(bench: Any) -> None:
    await call(bench, "tools.text2image", ["a dog"])
    assert bench.shown.parts == [Text("Note: 'a dog': cannot draw: dog")]
    assert bench.events(ToolReturned)[0].warnings == ["'a dog': cannot draw: dog"]


async def test_a_full_server_is_asked_again(bench: Any) -> None:
    bench.world.failures = [OverloadedError("full", retry_after_s=0.01), OverloadedError("full", retry_after_s=0.01)]
    await call(bench, "tools.text2image", ["a cat"])
    assert bench.events(ToolReturned)[0].attempts == 3
    seeds = {request.items[0].seed for request in bench.world.of(generation_pb2.GenerateImagesRequest)}
    assert len(seeds) == 1


async def test_a_server_that_stays_full_fails_the_run(bench: Any) -> None:
    bench.world.failures = [OverloadedError("full", retry_after_s=60)]
    with pytest.raises(OverloadedError):
        await call(bench, "tools.text2image", ["a cat"])
    assert bench.events(ToolReturned) == []


async def test_a_server_that_is_gone_fails_the_run_once_patience_ends(bench: Any, world: Any) -> None:
    world.failures = [UnavailableError("gone")] * 50
    gateway = Gateway(bench.study, bench.record, bench.shown, GatewayLimits(patience_s=0.0))
    with pytest.raises(UnavailableError, match="maia serve generation"):
        await gateway.call("tools.text2image", {"prompts": ["a cat"]})


@pytest.mark.parametrize(
    "failure", [InternalError("broken"), InvalidRequestError("no such layer", reason="LAYER_UNKNOWN")]
)
async def test_faults_of_the_system_are_never_shown_to_the_agent(bench: Any, failure: Any) -> None:
    bench.world.failures = [failure]
    with pytest.raises(type(failure)):
        await call(bench, "tools.text2image", ["a cat"])
    assert bench.shown.parts == []


async def test_what_the_code_can_mend_is_shown_to_it(bench: Any) -> None:
    bench.world.failures = [InvalidRequestError("prompt 0 is too long", reason="PROMPT_TOO_LONG")]
    with pytest.raises(ToolError, match="prompt 0 is too long"):
        await call(bench, "tools.text2image", ["a cat"])


async def test_an_attempt_has_a_deadline(bench: Any) -> None:
    gateway = Gateway(bench.study, bench.record, bench.shown, GatewayLimits(attempt_s=-1.0))
    with pytest.raises(DeadlineExceededError):
        await gateway.call("tools.text2image", {"prompts": ["a cat"]})


async def test_a_run_has_so_many_calls(bench: Any) -> None:
    gateway = Gateway(bench.study, bench.record, bench.shown, GatewayLimits(calls=1))
    await gateway.call("tools.display", {"items": ("a",)})
    with pytest.raises(ToolError, match="has made its 1 tool calls"):
        await gateway.call("tools.display", {"items": ("b",)})
    assert len(bench.events(ToolCalled)) == 1


async def test_long_arguments_are_cut_for_readers_only(bench: Any) -> None:
    await call(bench, "tools.display", "a" * 5000, list(range(600)))
    (called,) = bench.events(ToolCalled)
    text, numbers = called.arguments["items"]
    assert text.endswith("(5,000 characters)")
    assert numbers[-1] == "… (600 items)"
    await call(bench, "tools.display", "a" * 4999 + "b", list(range(600)))
    assert len({event.digest for event in bench.events(ToolCalled)}) == 2


async def test_what_was_answered_is_not_asked_of_a_server_again(bench: Any) -> None:
    bench.record.journal.append(BlockStarted(1, 1, "code"))
    bench.record.next_block()
    transcript = Transcript(bench.record)
    first = Gateway(bench.study, bench.record, transcript, GatewayLimits())
    images = await first.call("tools.text2image", {"prompts": ["red", "dog"]})
    with pytest.raises(ToolError) as refused:
        await first.call("tools.text2image", {"prompts": []})
    bench.record.journal.close()
    before = len(bench.world.asked)
    assert isinstance(images, list)
    with JournalWriter(bench.folder) as journal:
        record = Record(journal)
        record.next_block()
        table, again = ImageTable(record, tag=bench.images.tag), Transcript(record)
        gateway = Gateway(Study(bench.servers, table, bench.study.unit, "r1", seed=7), record, again, GatewayLimits())
        assert await gateway.call("tools.text2image", {"prompts": ["red", "dog"]}) == images
        with pytest.raises(ToolError, match=re.escape(str(refused.value))):
            await gateway.call("tools.text2image", {"prompts": []})
        assert len(bench.world.asked) == before
        assert again.parts == transcript.parts == [Text("Note: 'dog': cannot draw: dog")]
        assert table.picture(images[1].id) == bench.images.picture(images[1].id)
        await gateway.call("tools.text2image", {"prompts": ["red", "dog"]})
        assert len(bench.world.asked) == before + 1


async def test_another_call_in_the_place_of_an_answered_one_is_made(bench: Any) -> None:
    bench.record.journal.append(BlockStarted(1, 1, "code"))
    bench.record.next_block()
    await bench.gateway.call("tools.text2image", {"prompts": ["red"]})
    bench.record.journal.close()
    before = len(bench.world.asked)
    with JournalWriter(bench.folder) as journal:
        record = Record(journal)
        record.next_block()
        study = Study(bench.servers, ImageTable(record, tag="img-x"), bench.study.unit, "r1", seed=7)
        await Gateway(study, record, bench.shown, GatewayLimits()).call("tools.text2image", {"prompts": ["blue"]})
    assert len(bench.world.asked) == before + 1
