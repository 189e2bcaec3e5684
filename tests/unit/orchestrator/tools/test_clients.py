"""The clients against real servers on loopback, and against none."""

from typing import Any

import numpy as np
import pytest

from maia.orchestrator.clients import (
    Addresses,
    Connection,
    EditItem,
    GenerateItem,
    Layer,
    LayerKind,
    Pooling,
    Region,
    Servers,
    SubjectClient,
    Terms,
    Unit,
    open_servers,
)
from maia.orchestrator.conversation import Picture
from maia.subject.v1 import subject_pb2
from maia.wire.channels import open_channel
from maia.wire.deadline import Deadline
from maia.wire.errors import DeadlineExceededError, InternalError, NotFoundError, UnavailableError
from maia.wire.maps import Frame
from maia.wire.pictures import decode, encode_png

TERMS = Terms(Deadline())  # made when tests are collected: a deadline would have passed before they run


def picture(rgb: Any) -> Picture:
    return Picture(encode_png(rgb), "image/png", rgb.shape[1], rgb.shape[0])


def red(value: int) -> Picture:
    return picture(np.full((24, 32, 3), (value, 0, 0), np.uint8))


async def test_a_subject_is_described_with_its_layers(servers: Servers) -> None:
    info = await servers.subject.info("reds", TERMS)
    assert (info.name, info.revision, info.input_size) == ("reds", "r1", 16)
    assert info.layers == (Layer("layer1", 8, (2, 3), LayerKind.CHANNEL),)
    assert (info.precision, info.classes) == ("bfloat16", ("red", "other"))
    assert await servers.subject.subjects(TERMS) == ("reds", "greens")
    assert await servers.subject.loaded(TERMS) == ("reds",)


async def test_a_kind_of_layer_that_this_client_does_not_know_is_no_channel(servers: Servers, world: Any) -> None:
    kinds: list[Any] = [subject_pb2.LAYER_KIND_CLASS, subject_pb2.LAYER_KIND_DIRECTION, 0, 99]
    world.more_layers = [subject_pb2.Layer(name=f"layer{kind}", kind=kind) for kind in kinds]
    info = await servers.subject.info("reds", TERMS)
    expected = [LayerKind.CLASS, LayerKind.DIRECTION, LayerKind.UNKNOWN, LayerKind.UNKNOWN]
    assert [layer.kind for layer in info.layers[1:]] == expected


async def test_an_unknown_subject_comes_out_as_our_error(servers: Servers) -> None:
    with pytest.raises(NotFoundError) as caught:
        await servers.subject.info("blues", TERMS)
    assert caught.value.reason == "SUBJECT_UNKNOWN"
    assert caught.value.metadata["valid"] == "reds"


async def test_measuring_answers_by_picture_and_unit(servers: Servers) -> None:
    units = [Unit("layer1", 3), Unit("layer1", 3)]
    answers = await servers.subject.measure("reds", [red(10), red(200)], units, TERMS)
    assert [[round(response.activation) for response in row] for row in answers] == [[10, 10], [200, 200]]
    response = answers[1][0]
    assert response.map.dtype == np.float16
    assert response.map.tolist() == [[200, 200], [200, 200]]
    assert response.frame == Frame(0, 0, 32, 24)


@pytest.mark.parametrize(
    ("pooling", "sent"), [(Pooling.MAX, subject_pb2.POOLING_MAX), (Pooling.MEAN, subject_pb2.POOLING_MEAN)]
)
async def test_the_server_is_told_how_to_pool(servers: Servers, world: Any, pooling: Pooling, sent: int) -> None:
    await servers.subject.measure("reds", [red(10)], [Unit("layer1", 3)], TERMS, pooling=pooling)
    assert world.asked[-1].pooling == sent


async def test_an_ablation_says_what_was_and_what_is(servers: Servers) -> None:
    unit, pictures = Unit("layer1", 3), [red(51), red(153)]
    held = await servers.subject.ablate("reds", pictures, unit, 0.0, TERMS)
    assert (held.value, held.precision) == (0.0, "bfloat16")
    assert [effect.before.tolist() for effect in held.effects] == [pytest.approx([0.2, 0.8]), pytest.approx([0.6, 0.4])]
    assert [effect.after.tolist() for effect in held.effects] == [[0, 1], [0, 1]]
    assert held.effects[0].before.dtype == np.float32
    assert not held.effects[0].before.flags.writeable
    own = await servers.subject.ablate("reds", pictures, unit, None, TERMS)
    assert own.value == 102
    assert own.effects[1].after.tolist() == pytest.approx([0.4, 0.6])


async def test_an_ablation_that_forgets_classes_is_the_servers_fault(servers: Servers, world: Any) -> None:
    world.classes_after = 1
    with pytest.raises(InternalError, match="1 items where 2 were asked for"):
        await servers.subject.ablate("reds", [red(1)], Unit("layer1", 3), 0.0, TERMS)


async def test_pictures_come_with_their_true_size_and_type(servers: Servers) -> None:
    drawn = await servers.generation.generate([GenerateItem("a dog", 1), GenerateItem("a cat", 1)], TERMS)
    assert [(one.picture.width, one.picture.height, one.picture.media_type) for one in drawn] == [
        (32, 24, "image/png")
    ] * 2
    assert [one.warnings for one in drawn] == [("cannot draw: dog",), ()]
    edited = await servers.editing.edit([EditItem(red(255), "invert", 0)], TERMS)
    assert decode(edited[0].picture.data)[0, 0].tolist() == [0, 255, 255]
    assert edited[0].warnings == ("nothing to do",)


async def test_a_server_that_sends_no_picture_is_at_fault_itself(servers: Servers, world: Any) -> None:
    world.broken_picture = True
    with pytest.raises(InternalError, match=r"generation server at .* broken picture"):
        await servers.generation.generate([GenerateItem("x", 1)], TERMS)


async def test_exemplars_carry_maps_and_the_threshold(servers: Servers, world: Any) -> None:
    top = await servers.exemplars.top("reds", "r1", Unit("layer1", 3), TERMS)
    assert top.threshold == 100.0
    assert [exemplar.activation for exemplar in top.exemplars] == [250.0 - rank for rank in range(15)]
    assert top.exemplars[0].map.tolist() == [[250, 0], [0, 0]]
    assert world.asked[-1].subject_revision == "r1"
    assert await servers.exemplars.threshold("reds", "r1", Unit("layer1", 3), TERMS) == 100.0
    (stored,) = await servers.exemplars.sets(TERMS)
    assert (stored.subject, stored.revision, stored.top) == ("reds", "r1", 15)


async def test_a_mask_reaches_the_describer_bit_by_bit(servers: Servers) -> None:
    mask = np.zeros((24, 32), np.bool_)
    mask[3:5, 7:20] = True
    words = await servers.description.describe([Region(red(1)), Region(red(1), mask)], TERMS)
    assert words == [f"{24 * 32}\npixels", "26\npixels"]
    assert await servers.description.summarize([Region(red(1))] * 3, TERMS) == "3 images"


async def test_guides_for_the_system_prompt(servers: Servers) -> None:
    assert (await servers.generation.generator(TERMS)).prompt_guide == "Say anything."
    assert (await servers.editing.editor(TERMS)).instruction_guide == "Whatever."
    assert (await servers.description.describer(TERMS)).name == "counter"


async def test_a_passed_deadline_asks_nobody(servers: Servers, world: Any) -> None:
    with pytest.raises(DeadlineExceededError, match="subject server"):
        await servers.subject.info("reds", Terms(Deadline.after(-1)))
    assert world.asked == []


async def test_servers_that_are_down_are_named_with_address_and_remedy(address: str) -> None:
    nobody = "127.0.0.1:1"
    with pytest.raises(UnavailableError) as caught:
        async with open_servers(Addresses(address, address, nobody, address, address), ready_s=0.3):
            pytest.fail("the editing server is down")
    assert "editing server at 127.0.0.1:1" in caught.value.message
    assert "`maia serve editing`" in caught.value.message
    assert "`maia up`" in caught.value.message
    with pytest.raises(UnavailableError) as caught:
        async with open_servers(Addresses(nobody, address, nobody, address, address), ready_s=0.3):
            pytest.fail("two servers are down")
    assert caught.value.metadata["servers"] == "subject, editing"


async def test_a_server_that_goes_away_says_how_to_start_it(tmp_path: Any) -> None:
    address = f"unix:{tmp_path}/gone.sock"
    async with open_channel(address) as channel:
        with pytest.raises(UnavailableError, match="start it with `maia serve subject`") as caught:
            await SubjectClient(Connection("subject", address, channel)).info("reds", TERMS)
    assert caught.value.metadata["address"] == address
