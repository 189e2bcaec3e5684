"""The tools, row by row of the table that agents are promised, on small servers over real gRPC."""

import base64
from typing import Any

import numpy as np
import pytest

from maia.description.v1 import description_pb2
from maia.editing.v1 import editing_pb2
from maia.exemplars.v1 import exemplars_pb2
from maia.generation.v1 import generation_pb2
from maia.orchestrator.conversation import Picture, Text
from maia.orchestrator.events import ImageAdded, UnitName
from maia.orchestrator.toolbox import TOOLS, constants, seed_of, tool_specs
from maia.orchestrator.toolbox.display import MAX_CHARS, MAX_PICTURES
from maia.orchestrator.toolbox.study import NO_THRESHOLD
from maia.sandbox import ImageRef, Namespace, Pixels, ToolError
from maia.subject.v1 import subject_pb2
from maia.wire.pictures import decode

SYSTEM = Namespace("system")


async def test_call_neuron_rounds_and_keeps_the_order(bench: Any) -> None:
    images = [bench.picture(red) for red in (30, 10, 20)]
    activations, views = await bench.tools().call_neuron(images)
    assert activations == [30.0, 10.0, 20.0]
    assert [bench.images.source(view.id) for view in views] == images
    assert all(bench.images.mask(view.id) is not None for view in views)


async def test_activations_have_two_decimals_and_no_negative_zero(bench: Any) -> None:
    pixels = np.zeros((9, 9, 3), np.uint8)
    pixels[0, 0, 0] = 7
    ((activation,), _) = await bench.tools().call_neuron(pixels)
    assert repr(activation) == "0.09"


async def test_a_view_is_measured_as_its_original(bench: Any) -> None:
    _, [view] = await bench.tools().call_neuron([bench.picture(90)])
    assert (await bench.tools().call_neuron([view]))[0] == [90.0]
    first, second = bench.world.of(subject_pb2.MeasureUnitsRequest)
    assert first.pictures == second.pictures


@pytest.mark.parametrize("form", ["one", "list", "tuple", "pixels", "array", "batch"])
async def test_images_come_in_many_forms(bench: Any, form: str) -> None:
    picture = bench.picture(50)
    array = np.full((24, 32, 3), (50, 0, 0), np.uint8)
    given = {
        "one": picture,
        "list": [picture],
        "tuple": (picture,),
        "pixels": Pixels("RGB", 32, 24, array.tobytes()),
        "array": array,
        "batch": array[None],
    }[form]
    activations, views = await bench.tools().call_neuron(given)
    assert activations == [50.0]
    assert len(views) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "images is empty"),
        ("a dog", "images must be an image, not the text 'a dog'"),
        ([1.5], r"images\[0\] must be an image, not a float"),
        ({"a": 1}, "images must be a list of images, not a dict"),
        ([[]], r"images\[0\] must be an image, not a list"),
        (SYSTEM, "not the object `system`"),
        ([None], r"images\[0\] must be an image, not None"),
        ([ImageRef("forged", 9, 9)], "there is no image 'forged'"),
        (np.full((9, 9, 3), 200.0), "floats must lie in 0 to 1"),
        (np.zeros((9, 9, 2), np.uint8), r"\(9, 9, 2\) is no image"),
        ([ImageRef("x", 9, 9)] * 201, "201 images; at most 200"),
    ],
)
async def test_what_is_no_image_is_said_plainly(bench: Any, given: Any, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        await bench.tools().call_neuron(given)
    assert bench.world.asked == []


async def test_the_dataset_gives_the_threshold(bench: Any) -> None:
    await bench.tools().call_neuron(bench.picture(90))
    assert bench.events(ImageAdded)[-1].view["threshold"] == 100.0
    await bench.tools().call_neuron(bench.picture(91))
    assert len(bench.world.of(exemplars_pb2.GetStatisticsRequest)) == 1


async def test_without_a_dataset_the_map_gives_the_threshold_and_the_agent_is_told_once(bench: Any) -> None:
    bench.world.exemplars = False
    first, second = bench.tools(), bench.tools()
    await first.call_neuron(bench.picture(90))
    await second.call_neuron(bench.picture(90))
    assert (first.call.notes, second.call.notes) == ([NO_THRESHOLD], [])
    assert bench.events(ImageAdded)[-1].view["threshold_from"] == "map"


async def test_exemplars_are_fifteen_pairs_in_order(bench: Any) -> None:
    pairs = await bench.tools().dataset_exemplars(SYSTEM)
    assert [activation for activation, _ in pairs] == [250.0 - rank for rank in range(15)]
    mask = bench.images.mask(pairs[0][1].id)
    assert mask[0, 0]
    assert not mask[-1, -1]
    assert bench.images.mask(bench.images.source(pairs[0][1].id).id) is None


async def test_exemplars_stay_the_same_images(bench: Any) -> None:
    first = await bench.tools().dataset_exemplars(SYSTEM)
    first.clear()
    assert len(await bench.tools().dataset_exemplars(SYSTEM)) == 15
    assert len(bench.world.of(exemplars_pb2.GetExemplarsRequest)) == 1


async def test_exemplars_that_are_missing_are_no_failure(bench: Any) -> None:
    bench.world.exemplars = False
    with pytest.raises(ToolError, match="no dataset images are stored"):
        await bench.tools().dataset_exemplars(SYSTEM)


@pytest.mark.parametrize("given", [None, "system", Namespace("tools"), 3])
async def test_exemplars_are_of_the_system(bench: Any, given: Any) -> None:
    with pytest.raises(ToolError, match="with the object `system`"):
        await bench.tools().dataset_exemplars(given)


async def test_drawing_again_draws_another_picture_and_a_repeated_run_the_same(bench: Any) -> None:
    first, twin = await bench.tools().text2image(["a cat", "a cat"])
    (again,) = await bench.tools().text2image("a cat")
    pictures = [bench.images.picture(ref.id).sha256 for ref in (first, twin, again)]
    assert len(set(pictures)) == 3
    seeds = [item.seed for request in bench.world.of(generation_pb2.GenerateImagesRequest) for item in request.items]
    assert seeds == [seed_of(7, bench.study.unit, call, index) for call, index in [(1, 0), (1, 1), (2, 0)]]


def test_seeds_differ_by_run_unit_call_and_index_and_never_change() -> None:
    unit, other = UnitName("m", "a", 1), UnitName("m", "a", 2)
    seeds = {seed_of(*what) for what in [(0, unit, 1, 0), (1, unit, 1, 0), (0, other, 1, 0), (0, unit, 2, 0)]}
    assert len(seeds) == 4
    assert seed_of(0, unit, 1, 0) == 6419254464841487
    assert all(0 <= seed < 2**53 for seed in seeds)


async def test_what_could_not_be_drawn_is_said_with_its_prompt(bench: Any) -> None:
    tools = bench.tools()
    await tools.text2image(["a red dog", "a cat", "a red dog"])
    assert tools.call.notes == ["'a red dog': cannot draw: dog"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "prompts is empty"),
        (5, "prompts must be a list of texts, not a int"),
        (["a", 5], r"prompts\[1\] must be a text, not a int"),
        (["x" * 20_001], r"prompts\[0\] has 20,001 characters; at most 20,000"),
        (["x"] * 201, "201 texts"),
    ],
)
async def test_what_is_no_prompt_is_said_plainly(bench: Any, given: Any, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        await bench.tools().text2image(given)


async def test_edits_interleave_originals_and_results(bench: Any) -> None:
    one, two = bench.picture(10), bench.picture(20)
    images, prompts = await bench.tools().edit_images([one, two], ["invert", "turn"])
    assert images[0::2] == [one, two]
    assert [decode(bench.images.picture(ref.id).data)[0, 0, 0] for ref in images[1::2]] == [245, 235]
    assert prompts == ["Original Image", "Editing Prompt: invert", "Original Image", "Editing Prompt: turn"]


@pytest.mark.parametrize(("images", "edits", "pairs"), [(1, 3, 3), (3, 1, 3), (1, 1, 1)])
async def test_a_single_image_or_edit_goes_with_all_others(bench: Any, images: int, edits: int, pairs: int) -> None:
    given = [bench.picture(red) for red in range(images)]
    all_images, all_prompts = await bench.tools().edit_images(given, [f"edit {n}" for n in range(edits)])
    assert len(all_images) == len(all_prompts) == 2 * pairs
    assert all_images[0::2] == [given[n % images] for n in range(pairs)]
    assert all_prompts[1::2] == [f"Editing Prompt: edit {n % edits}" for n in range(pairs)]
    (request,) = bench.world.of(editing_pb2.EditImagesRequest)
    assert len({item.seed for item in request.items}) == pairs


async def test_lengths_that_do_not_fit_are_both_named(bench: Any) -> None:
    with pytest.raises(ToolError, match="images has 2 items and edits has 3"):
        await bench.tools().edit_images([bench.picture(1), bench.picture(2)], ["a", "b", "c"])


async def test_a_view_is_edited_as_its_original(bench: Any) -> None:
    original = bench.picture(90)
    _, [view] = await bench.tools().call_neuron(original)
    images, _ = await bench.tools().edit_images(view, "invert")
    assert images[0] == original
    (request,) = bench.world.of(editing_pb2.EditImagesRequest)
    assert request.items[0].picture.data == bench.images.picture(original.id).data


async def test_descriptions_are_a_line_an_image_with_views_masked(bench: Any) -> None:
    (_, view), *_ = await bench.tools().dataset_exemplars(SYSTEM)
    original = bench.images.source(view.id)
    text = await bench.tools().describe_images([view, original], ("the\nview", 2.5))
    inside = int(bench.images.mask(view.id).sum())
    assert text == f'"the view", HIGHLIGHTED REGIONS: {inside} pixels\n"2.5", HIGHLIGHTED REGIONS: 768 pixels'
    masked, whole = bench.world.of(description_pb2.DescribeImagesRequest)[0].items
    assert masked.picture == whole.picture


async def test_every_image_needs_a_title(bench: Any) -> None:
    with pytest.raises(ToolError, match="images has 2 items and titles has 1"):
        await bench.tools().describe_images([bench.picture(1), bench.picture(2)], ["one"])


async def test_summaries_take_nested_lists(bench: Any) -> None:
    a, b, c = bench.picture(1), bench.picture(2), bench.picture(3)
    assert await bench.tools().summarize_images([a, (b, [c])]) == "3 images"
    assert await bench.tools().summarize_images(a) == "1 images"
    with pytest.raises(ToolError, match="images is empty"):
        await bench.tools().summarize_images([[], ()])


async def displayed(bench: Any, *items: object) -> list[str]:
    tools = bench.tools()
    await tools.display(*items)
    return [part.text if isinstance(part, Text) else "picture" for part in tools.call.shown]


async def test_display_shows_in_order(bench: Any) -> None:
    picture = bench.picture(5)
    assert await displayed(bench, "dogs", 1.5, [picture, ("title", [picture])], [1, 2.5], {"a": picture}) == [
        "dogs",
        "1.5",
        "picture",
        "title",
        "picture",
        "[1, 2.5]",
        f"{{'a': <Image 32x24 {picture.id}>}}",
    ]


async def test_display_draws_views_and_knows_their_ids(bench: Any) -> None:
    _, [view] = await bench.tools().call_neuron(bench.picture(90))
    tools = bench.tools()
    await tools.display(view)
    (part,) = tools.call.shown
    assert isinstance(part, Picture)
    assert decode(part.data)[0, 0, 0] == 90 // 4
    assert bench.record.image_ids[part.sha256] == view.id


@pytest.mark.parametrize("text", ["dogs", "1234", "abcd" * 1000, "iVBORw0KGgo=", ""])
async def test_a_word_is_no_picture(bench: Any, text: str) -> None:
    assert await displayed(bench, text) == [text]


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
async def test_base64_that_an_image_gave_is_that_image(bench: Any, prefix: str) -> None:
    picture = bench.picture(5)
    text = base64.b64encode(await bench.images.encoded(picture.id)).decode()
    assert await displayed(bench, prefix + text) == ["picture"]
    assert await displayed(bench, [prefix + text, "x"]) == ["picture", "x"]


async def test_base64_of_other_origin_is_never_decoded(bench: Any) -> None:
    text = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(3000)).decode()
    (shown,) = await displayed(bench, text)
    assert "display the image itself" in shown


async def test_display_is_bounded(bench: Any) -> None:
    picture = bench.picture(5)
    assert len(await displayed(bench, [picture] * MAX_PICTURES)) == MAX_PICTURES
    with pytest.raises(ToolError, match=f"more than {MAX_PICTURES} pictures"):
        await displayed(bench, [picture] * (MAX_PICTURES + 1))
    first, second = await displayed(bench, "a" * (MAX_CHARS - 1), "bcd", "e")
    assert len(first) == MAX_CHARS - 1
    assert second.startswith("b\n(cut here")


async def test_arrays_are_shown_as_numbers(bench: Any) -> None:
    assert await displayed(bench, np.array([0.5, 0.25]), np.zeros((2, 2), np.uint8)) == [
        "[0.5  0.25]",
        "[[0 0]\n [0 0]]",
    ]


def test_every_tool_has_a_signature_in_the_words_of_agents() -> None:
    specs = {spec.name: spec for spec in tool_specs()}
    assert list(specs) == list(TOOLS)
    assert specs["system.call_neuron"].signature == "(images: list[Image]) -> tuple[list[float], list[Image]]"
    assert specs["tools.display"].signature == "(*items: object) -> None"
    assert all("ImageRef" not in spec.signature + spec.doc and spec.doc for spec in specs.values())


def test_constants_name_the_unit() -> None:
    assert constants(UnitName("reds", "layer1", 3)) == {
        "system.layer": "layer1",
        "system.neuron_num": 3,
        "system.model_name": "reds",
    }
