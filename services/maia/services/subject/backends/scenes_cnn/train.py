"""Train scenes-cnn: `python -m maia.services.subject.backends.scenes_cnn.train`.

Draws scenes, shows them to the network with the concepts that each contains, prints how well every head does on scenes
that it was not trained on, and writes the weights. The same seed and number of threads give the same weights on the
same machine.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from maia.services.subject.backends.scenes_cnn import weights
from maia.services.subject.backends.scenes_cnn.batches import Batch, shuffled
from maia.services.subject.backends.scenes_cnn.examples import HELD_OUT_FROM, TRAINING_FROM, Examples
from maia.services.subject.backends.scenes_cnn.network import CHANNELS, SceneNetwork
from maia.services.subject.backends.scenes_cnn.scores import Score, score
from maia.services.subject.backends.scenes_cnn.targets import CONCEPTS, HEADS

_KINDS = [len(HEADS[head]) for head in ("shape", "colour", "texture")]  # as `targets.kind` orders them


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        seed: Of the first weights, the order of the pictures and their variations.
        epochs: How often each picture is shown.
        batch: Pictures per step.
        learning_rate: The highest; it rises over the first tenth of the steps and falls to 0 along a cosine.
        weight_decay: AdamW's.
        dropout: Share of layer4 units hidden from the head in each step, so that no concept hangs on one unit.
        place: Weight of the error made in naming each thing from layer4 at its place. It tells which pixels are the
            circle, where the answer for the whole picture tells only that there is one; shapes are slow to learn
            from that alone.
        quiet: Weight of the mean activation of layer3 and layer4 in the loss. It keeps units silent where they
            have nothing to say, and so makes them easier to name.
        few: Weight of the mean magnitude of the head's weights in the loss. It ties each concept to few units.
    """

    seed: int = 0
    epochs: int = 14
    batch: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    dropout: float = 0.1
    place: float = 1.0
    quiet: float = 3.0
    few: float = 5.0


class Student(nn.Module):
    """A network in training, with the part that only training needs.

    Args:
        recipe: Gives the dropout.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.network = SceneNetwork(len(CONCEPTS), dropout=recipe.dropout)
        self.naming = nn.Linear(CHANNELS["layer4"], sum(_KINDS))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's annotations omit it

    def loss(self, batch: Batch, recipe: Recipe) -> tuple[Tensor, float]:
        """Return what a step makes smaller, and the part of it that is error on whole pictures.

        The latter is the cross-entropy per picture, summed over the concepts.
        """
        outputs = self.network.stages(batch.pixels, ("layer3", "layer4"))
        logits = self.network.classify(outputs["layer4"])
        count = len(batch.pixels)
        error = nn.functional.binary_cross_entropy_with_logits(logits, batch.present, reduction="sum") / count
        activity = outputs["layer3"].mean() + outputs["layer4"].mean()
        naming = self._naming_error(outputs["layer4"], batch) / count
        ties = self.network.head.weight.abs().mean()
        return error + recipe.place * naming + recipe.quiet * activity + recipe.few * ties, error.item()

    def _naming_error(self, layer4: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy of naming the shape, colour and texture of each thing at its centre, summed."""
        picture, thing = (batch.kinds[..., 0] >= 0).nonzero(as_tuple=True)
        side = layer4.shape[-1]
        column, row = (batch.centres[picture, thing] * side).long().clamp(0, side - 1).unbind(dim=1)
        answers = self.naming(layer4[picture, :, row, column]).split(_KINDS, dim=1)
        truths = batch.kinds[picture, thing].unbind(dim=1)
        errors = [
            nn.functional.cross_entropy(answer, truth, reduction="sum")
            for answer, truth in zip(answers, truths, strict=True)
        ]
        return torch.stack(errors).sum()


def train(recipe: Recipe, examples: Examples, report: Callable[[str], None]) -> SceneNetwork:
    """Train a network from nothing.

    Args:
        recipe: How.
        examples: On what.
        report: Told one line per epoch.

    Returns:
        The network, in evaluation mode.
    """
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    student = Student(recipe)
    optimiser = torch.optim.AdamW(student.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * math.ceil(len(examples.pixels) / recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _warm_then_cosine(step / steps))
    for epoch in range(recipe.epochs):
        started = time.monotonic()
        errors = []
        for batch in shuffled(examples, recipe.batch, generator):
            optimiser.zero_grad()
            loss, error = student.loss(batch, recipe)
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            optimiser.step()
            schedule.step()
            errors.append(error)
        seconds = time.monotonic() - started
        report(f"epoch {epoch + 1} of {recipe.epochs}: error {sum(errors) / len(errors):.2f}, {seconds:.0f} s")
    return student.network.eval()


def _warm_then_cosine(share_done: float) -> float:
    return min(share_done / 0.1, 1.0) * (1.0 + math.cos(math.pi * share_done)) / 2.0


def main(argv: Sequence[str] | None = None) -> None:
    """Train, print the accuracy and write the weights, as the command line asks."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(mode=True)
    recipe = Recipe(seed=options.seed, epochs=options.epochs)
    started = time.monotonic()
    _say(f"drawing {options.scenes} scenes to train on and {options.held_out} to test on")
    examples = Examples.draw(TRAINING_FROM, options.scenes, workers=options.workers)
    held_out = Examples.draw(HELD_OUT_FROM, options.held_out, workers=options.workers)
    _say(f"drawn in {time.monotonic() - started:.0f} s")
    network = train(recipe, examples, _say)
    scores = score(network, held_out)
    for head, result in scores.items():
        _say(f"{head:>16}: accuracy {result.accuracy:.4f}, F1 {result.f1:.3f}")
    papers = _papers(recipe, scores, examples, held_out)
    revision = weights.save(options.output, network, CONCEPTS, papers)
    _say(f"wrote {options.output}, revision {revision}, after {time.monotonic() - started:.0f} s")


def _papers(recipe: Recipe, scores: Mapping[str, Score], examples: Examples, held_out: Examples) -> dict[str, str]:
    settings = {name: str(value) for name, value in asdict(recipe).items()}
    accuracy = {f"accuracy of {head}": f"{result.accuracy:.4f} (F1 {result.f1:.3f})" for head, result in scores.items()}
    drawn = {
        "scenes": str(len(examples.pixels)),
        "held out": str(len(held_out.pixels)),
        # Tells whether a run that came out otherwise was trained on other pictures.
        "pictures": hashlib.sha256(examples.pixels.data).hexdigest()[:16],
    }
    return {**settings, **accuracy, **drawn, "torch": torch.__version__}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m maia.services.subject.backends.scenes_cnn.train",
        description="Train the subject scenes-cnn, print its accuracy on held-out scenes, write its weights.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=weights.SHIPPED, help="where to write the weights")
    parser.add_argument("--seed", type=int, default=Recipe().seed, help="of everything random")
    parser.add_argument("--epochs", type=_count, default=Recipe().epochs, help="how often each scene is shown")
    parser.add_argument("--scenes", type=_count, default=12_000, help="scenes to train on (38 kB of memory each)")
    parser.add_argument("--held-out", type=_count, default=2_000, help="other scenes to test on")
    parser.add_argument("--workers", type=_count, default=2, help="processes that draw scenes")
    parser.add_argument(
        "--threads", type=_count, default=2, help="threads that train; another number rounds differently"
    )
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too few; give 1 or more")
    return number


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
