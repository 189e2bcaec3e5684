"""What the network is taught, how it is taught, and what the shipped one has learnt."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from maia.services.scenes.scene import Background, Colour, Scene, Shape, Texture, Thing
from maia.services.subject.backends.scenes_cnn import examples as examples_module
from maia.services.subject.backends.scenes_cnn import weights
from maia.services.subject.backends.scenes_cnn.batches import plain, shuffled, vary
from maia.services.subject.backends.scenes_cnn.examples import TRAINING_FROM, Examples
from maia.services.subject.backends.scenes_cnn.probe import probe
from maia.services.subject.backends.scenes_cnn.scores import score
from maia.services.subject.backends.scenes_cnn.targets import CONCEPTS, HEADS, columns, kind, shown
from maia.services.subject.backends.scenes_cnn.train import Recipe, Student, main, train

FRESH_FROM = 3_000_000  # neither trained on, nor used to judge a training

RED_CIRCLE = Thing(Shape.CIRCLE, Colour.RED, Texture.STRIPED, x=0.3, y=0.4, radius=0.1)
BLUE_STAR = Thing(Shape.STAR, Colour.BLUE, Texture.SOLID, x=0.7, y=0.6, radius=0.1)


@pytest.fixture(scope="module")
def fresh() -> Examples:
    return Examples.draw(FRESH_FROM, 200)


@pytest.fixture(scope="module")
def few() -> Examples:
    return Examples.draw(TRAINING_FROM, 32)


def test_a_scene_shows_the_concepts_of_its_things_and_no_cross_of_two() -> None:
    scene = Scene(Background(Colour.PINK, Texture.DOTTED), (RED_CIRCLE, BLUE_STAR))
    names = {concept for concept, there in zip(CONCEPTS, shown(scene), strict=True) if there}
    assert names == {
        *("circle", "star", "red", "blue", "striped", "solid", "red circle", "blue star"),
        *("pink background", "dotted background"),
    }


def test_the_columns_of_the_heads_are_all_concepts_in_order() -> None:
    assert [concept for head in HEADS for concept in CONCEPTS[columns(head)]] == list(CONCEPTS)
    assert len(set(CONCEPTS)) == len(CONCEPTS)


def test_a_kind_names_its_places_in_the_heads() -> None:
    shape, colour, texture = kind(BLUE_STAR)
    assert (HEADS["shape"][shape], HEADS["colour"][colour], HEADS["texture"][texture]) == ("star", "blue", "solid")


def test_a_thing_whose_centre_another_covers_is_not_named_by_what_stands_there() -> None:
    ring = dataclasses.replace(RED_CIRCLE, shape=Shape.RING, radius=0.2)
    within = dataclasses.replace(BLUE_STAR, x=ring.x + 0.05, y=ring.y, radius=0.08)
    scene = Scene(Background(), (ring, within))
    assert [examples_module._covered(thing, scene) for thing in scene.things] == [True, False]


def test_worker_processes_draw_the_same_examples() -> None:
    one, two = Examples.draw(5, 70), Examples.draw(5, 70, workers=2)
    for field in dataclasses.fields(Examples):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(two, field.name))


def test_variations_move_the_centres_with_the_pixels() -> None:
    """A lone bright cell at each centre is still under the centre after mirroring and shifting."""
    side = 112
    centres = np.array([[[0.25, 0.625]], [[0.75, 0.375]]], np.float32)
    pixels = np.zeros((2, side, side, 3), np.uint8)
    for row, ((x, y),) in enumerate(centres):
        pixels[row, int(y * side) - 3 : int(y * side) + 3, int(x * side) - 3 : int(x * side) + 3] = 255
    marked = Examples(pixels, np.zeros((2, len(CONCEPTS)), np.bool_), centres, np.zeros((2, 1, 3), np.int64))
    placed = set()
    for seed in range(8):
        varied = vary(plain(marked), torch.Generator().manual_seed(seed))
        for picture, ((x, y),) in zip(varied.pixels, varied.centres.tolist(), strict=True):
            assert picture[:, int(y * side), int(x * side)].min() > 0.5
            placed.add((x, y))
    assert len(placed) > 8


def test_an_epoch_shows_every_example_once(few: Examples) -> None:
    batches = list(shuffled(few, 12, torch.Generator().manual_seed(0)))
    assert [len(batch.pixels) for batch in batches] == [12, 12, 8]
    rows = torch.cat([batch.present for batch in batches]).numpy().astype(np.bool_)
    assert sorted(row.tobytes() for row in rows) == sorted(row.tobytes() for row in few.present)


def test_two_steps_lower_the_loss(few: Examples) -> None:
    torch.manual_seed(0)
    recipe = Recipe(dropout=0.0)
    student = Student(recipe)
    optimiser = torch.optim.AdamW(student.parameters(), lr=recipe.learning_rate)
    losses = []
    for _ in range(3):
        optimiser.zero_grad()
        loss, _ = student.loss(plain(few), recipe)
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        optimiser.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]


def test_the_same_seed_gives_the_same_network_and_another_seed_another(few: Examples) -> None:
    lines: list[str] = []
    networks = [train(Recipe(seed=seed, epochs=1), few, lines.append) for seed in (4, 4, 5)]
    first, again, other = (weights.revision_of(network.state_dict()) for network in networks)
    assert first == again != other
    assert len(lines) == 3
    assert "epoch 1 of 1" in lines[0]


def test_the_command_line_refuses_a_training_without_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--epochs", "0"])
    assert caught.value.code == 2
    assert "give 1 or more" in capsys.readouterr().err


def test_the_shipped_network_recognises_what_is_on_fresh_scenes(fresh: Examples) -> None:
    shipped = weights.load()
    assert shipped.concepts == CONCEPTS
    scores = score(shipped.network, fresh)
    lowest = {"shape": 0.95, "colour": 0.99, "texture": 0.98, "colour and shape": 0.85, "background": 0.98}
    assert {head: result.f1 for head, result in scores.items() if result.f1 < lowest[head]} == {}
    assert min(result.accuracy for result in scores.values()) > 0.97


def test_most_deep_units_of_the_shipped_network_respond_to_a_nameable_concept(fresh: Examples) -> None:
    findings = probe(weights.load().network, fresh, ["layer4"])
    assert len(findings) == 160
    assert sum(finding.auc > 0.9 for finding in findings) > 100
