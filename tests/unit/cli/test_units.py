"""How units are named and chosen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.cli.errors import CommandError
from maia.cli.units import Wish, check_units, named_units, parse_layers, parse_unit, parse_units, read_units_file

SIZES = {"layer1": 8, "layer3": 64, "blocks.1.mlp.fc1": 4}

layers = st.text("abcxyz0123456789._", min_size=1, max_size=12)
chosen = st.dictionaries(layers, st.lists(st.integers(0, 10**6), min_size=1, max_size=6, unique=True), min_size=1)


@given(chosen)
def test_a_written_list_reads_back_the_same(units: dict[str, list[int]]) -> None:
    text = ":".join(f"{layer}={','.join(map(str, indices))}" for layer, indices in units.items())
    assert parse_units(text) == {layer: tuple(indices) for layer, indices in units.items()}


@given(st.text(max_size=40))
def test_any_text_is_a_list_or_a_command_error(text: str) -> None:
    try:
        parsed = parse_units(text)
    except CommandError as refusal:
        said, parsed = refusal.message, {}
    else:
        said = ""
    assert "\n" not in said
    assert all(indices and all(index >= 0 for index in indices) for indices in parsed.values())


@given(st.integers(0, 1000), st.integers(0, 50))
def test_a_range_includes_both_ends(first: int, more: int) -> None:
    assert parse_units(f"l={first}-{first + more}") == {"l": tuple(range(first, first + more + 1))}


def test_duplicates_are_meant_once_and_keep_the_order_of_naming() -> None:
    assert parse_units("layer4=7:layer3=40,12,40,12-14:layer4=7,1") == {"layer4": (7, 1), "layer3": (40, 12, 13, 14)}


@pytest.mark.parametrize(
    "text",
    ["", "layer3", "layer3=", "=3", "layer3=a", "layer3=-1", "layer3=1,", "layer3=5-2", "layer3=1:", "layer3=+1",
     "l=1_0", "l=٣", "l=0-99999999999999999999", "l=0-999999999", "l=1--2"],
)  # fmt: skip
def test_a_malformed_list_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(CommandError):
        parse_units(text)


def test_layers_may_be_named_with_or_without_units() -> None:
    assert parse_layers("layer3:layer4=7:layer3=1") == ("layer3", "layer4")
    with pytest.raises(CommandError, match="empty part"):
        parse_layers("layer3::layer4")


@pytest.mark.parametrize(
    ("text", "unit"), [("layer3:12", ("layer3", 12)), ("layer3=12", ("layer3", 12)), ("a.b.c:0", ("a.b.c", 0))]
)
def test_one_unit(text: str, unit: tuple[str, int]) -> None:
    assert parse_unit(text) == unit


@pytest.mark.parametrize("text", ["layer3", "layer3:", ":3", "layer3:x", "layer3:1,2", "12"])
def test_what_is_no_unit_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="layer3:12"):
        parse_unit(text)


def test_units_to_measure_need_a_model_and_a_unit() -> None:
    assert named_units("m", ["a:1", "a=1", "b:2"]) == [("a", 1), ("b", 2)]
    with pytest.raises(CommandError, match="--model"):
        named_units(None, ["a:1"])
    with pytest.raises(CommandError, match="--unit"):
        named_units("m", [])


@pytest.mark.parametrize(
    ("content", "said"),
    [("[1, 2]", "units by layer"), ("{}", "units by layer"), ("{", "cannot be read"), ('{"a": 1}', "no list"),
     ('{"a": [true]}', "no list"), ('{"a": [-1]}', "no list"), ('{"a": ["1"]}', "no list"),
     ("[" * 100_000, "cannot be read")],
)  # fmt: skip
def test_a_unit_file_with_anything_else_is_refused(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "units.json"
    file.write_text(content)
    with pytest.raises(CommandError, match=said):
        read_units_file(file, "m")


def test_a_folder_holds_one_unit_file_per_model(tmp_path: Path) -> None:
    (tmp_path / "resnet.json").write_text(json.dumps({"layer3": [5, 5, 1]}))
    assert read_units_file(tmp_path, "resnet") == {"layer3": (5, 1)}
    with pytest.raises(CommandError, match=r"holds resnet\.json.*folder with clip\.json"):
        read_units_file(tmp_path, "clip")


def wish(
    mode: str | None = None, *, units: str | None = None, file: Path | None = None, count: int | None = None
) -> Wish:
    return Wish.of("m", mode, units=units, file=file, count=count)


def test_the_mode_follows_from_the_other_flags(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"layer1": [1]}')
    assert wish(units="layer1=1").mode == "manual"
    assert wish(file=tmp_path).mode == "from_file"
    assert wish(count=2).mode == "random"
    assert wish("from-file", file=tmp_path).mode == "from_file"


def test_flags_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    for mode, flags, said in (
        ("manual", {}, "--units"),
        ("random", {}, "--num-of-units"),
        ("from_file", {}, "--unit-file-path"),
        ("manual", {"units": "a=1", "count": 3}, "--unit-mode random"),
        ("random", {"count": 3, "file": tmp_path}, "--unit-mode from_file"),
        ("random", {"count": 0}, "at least 1"),
        ("sometimes", {}, "manual, from_file, random"),
    ):
        with pytest.raises(CommandError, match=said):
            wish(mode, **flags)


def test_random_units_are_drawn_once_each_and_alike_for_a_seed() -> None:
    drawn = wish(count=4).choose(SIZES, seed=1)
    assert {layer: len(set(indices)) for layer, indices in drawn.items()} == dict.fromkeys(SIZES, 4)
    assert all(0 <= index < SIZES[layer] for layer, indices in drawn.items() for index in indices)
    assert wish(count=4).choose(SIZES, seed=1) == drawn
    assert wish(count=4).choose(SIZES, seed=2) != drawn
    assert wish(count=4, units="layer3").choose(SIZES, seed=1) == {"layer3": drawn["layer3"]}


def test_random_units_reach_the_whole_layer() -> None:
    assert wish(count=64, units="layer3").choose(SIZES, seed=0) == {"layer3": tuple(range(64))}
    with pytest.raises(CommandError, match="layer1 has 8 units"):
        wish(count=9).choose(SIZES, seed=0)


def test_the_layers_of_the_list_choose_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "units.json"
    file.write_text('{"layer1": [1, 2], "layer3": [40]}')
    assert wish(file=file).choose(SIZES, 0) == {"layer1": (1, 2), "layer3": (40,)}
    assert wish(file=file, units="layer3").choose(SIZES, 0) == {"layer3": (40,)}
    with pytest.raises(CommandError, match=r"names no unit of blocks\.1"):
        wish(file=file, units="blocks.1.mlp.fc1").choose(SIZES, 0)


@pytest.mark.parametrize(
    ("units", "said"),
    [
        ("layer9=1", "valid: layer1, layer3, blocks.1.mlp.fc1"),
        ("layer1=8", "units 0 to 7, not 8"),
        ("layer1=0-20", "not 8, 9, 10, 11, 12, …"),
    ],
)
def test_what_the_subject_does_not_have_is_named_with_what_it_has(units: str, said: str) -> None:
    with pytest.raises(CommandError) as caught:
        wish(units=units).choose(SIZES, 0)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("blocks.3.mlp.fc3", "perhaps blocks."),
        ("???", "has no layer '???'; `maia subjects m` lists all 40"),
    ],
)
def test_of_many_layers_the_nearest_are_named(layer: str, said: str) -> None:
    sizes = {f"blocks.{block}.{part}": 8 for block in range(20) for part in ("mlp.fc1", "mlp.fc2")}
    with pytest.raises(CommandError) as caught:
        check_units("m", {layer: [1]}, sizes)
    assert said in caught.value.message
    assert caught.value.message.endswith("`maia subjects m` lists all 40")
    assert caught.value.message.count("blocks.") <= 13
