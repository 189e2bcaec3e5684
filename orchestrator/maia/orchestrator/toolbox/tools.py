"""The tools, as typed functions with the documentation that an agent reads.

This module is the one source of the dispatch (`TOOLS`), of what a guest is told (`tool_specs`) and of the API text in
the system prompt (`maia.orchestrator.api_text`).

Docstrings are written for the agent: they go into its system prompt word for word. Parameters are annotated as the
agent should pass them; what else is accepted (a single item, tuples, arrays) is read by `arguments`. Every tool may
raise ToolError for a fault of the agent's code; a fault of a server is raised as it is.
"""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from maia.orchestrator.clients import EditItem, GenerateItem, Region, Response
from maia.orchestrator.events import UnitName
from maia.orchestrator.images import ImageTable
from maia.orchestrator.toolbox.arguments import MAX_TITLE_CHARS, image_list, kind_of, pair_up, texts
from maia.orchestrator.toolbox.call import Call
from maia.orchestrator.toolbox.display import Display
from maia.orchestrator.toolbox.study import EXEMPLARS_MISSING, NO_THRESHOLD, Study, seed_of
from maia.sandbox import ImageRef, Namespace, ToolError, ToolSpec
from maia.wire.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The tools as one call sees them.

    Attributes:
        study: What all calls of a run share.
        call: This call.
    """

    study: Study
    call: Call

    async def call_neuron(self, images: list[ImageRef]) -> tuple[list[float], list[ImageRef]]:
        """Measure the neuron on images.

        Args:
            images: Images of any kind. A masked view is measured as its original, without the darkening.

        Returns:
            (activations, views), one of each per image: the neuron's highest activation anywhere in the image, rounded
            to 2 decimals, and the image as a masked view, darkened wherever the neuron does not respond strongly.

        Example:
            activations, views = system.call_neuron(tools.text2image(["a dog", "a cat"]))
        """
        refs = await image_list(images, "images", self._images)
        originals = [self._images.source(ref.id) for ref in refs]
        measured = await self.study.servers.subject.measure(
            self.study.unit.model,
            [self._images.picture(original.id) for original in originals],
            [self.study.channel],
            self.call.terms,
        )
        threshold = await self.study.threshold(self.call)
        views = [
            self._images.add_view(
                original.id, self.study.recipe(responses[0], threshold), {"tool": "system.call_neuron"}
            )
            for original, responses in zip(originals, measured, strict=True)
        ]
        return [_rounded(responses[0].activation) for responses in measured], views

    async def dataset_exemplars(self, system: Namespace) -> list[tuple[float, ImageRef]]:
        """Fetch the images of a large dataset that drive the neuron most.

        Args:
            system: The object `system`.

        Returns:
            15 pairs (activation, view), highest activation first. The views are masked: darkened wherever the neuron
            does not respond strongly. `view.source` is the whole image.

        Example:
            for activation, view in tools.dataset_exemplars(system):
                tools.display(activation, view)
        """
        if not (isinstance(system, Namespace) and system.name == "system"):
            raise ToolError(f"call tools.dataset_exemplars(system) with the object `system`, not {kind_of(system)}")
        if self.study.exemplars is None:
            self.study.exemplars = await self._exemplars()
        return list(self.study.exemplars)

    async def _exemplars(self) -> list[tuple[float, ImageRef]]:
        try:
            top = await self.study.servers.exemplars.top(
                self.study.unit.model, self.study.revision, self.study.channel, self.call.terms
            )
        except NotFoundError as error:
            if error.reason != EXEMPLARS_MISSING:
                raise
            raise ToolError(
                "no dataset images are stored for this neuron; work with tools.text2image instead"
            ) from error
        await self._images.store([exemplar.picture for exemplar in top.exemplars])
        pairs = []
        for rank, exemplar in enumerate(top.exemplars, 1):
            source = {"tool": "tools.dataset_exemplars", "rank": rank, "dataset_index": exemplar.dataset_index}
            original = self._images.add(exemplar.picture, source)
            response = Response(exemplar.activation, exemplar.map, exemplar.frame)
            threshold = top.threshold if exemplar.threshold is None else exemplar.threshold
            if threshold is None:
                self.call.note(NO_THRESHOLD)
            view = self._images.add_view(original.id, self.study.recipe(response, threshold), source)
            pairs.append((_rounded(exemplar.activation), view))
        return pairs

    async def text2image(self, prompts: list[str]) -> list[ImageRef]:
        """Draw images from text.

        Args:
            prompts: What each image should show.

        Returns:
            One image per prompt. Drawing the same prompt again gives another image, so repeat a prompt to be sure of a
            result. What could not be drawn as asked is printed.

        Example:
            images = tools.text2image(["a dog on grass"] * 3 + ["grass"])
        """
        wanted = texts(prompts, "prompts")
        items = [GenerateItem(prompt, self._seed(index)) for index, prompt in enumerate(wanted)]
        drawn = await self.study.servers.generation.generate(items, self.call.terms)
        self._warn([picture.warnings for picture in drawn], wanted)
        await self._images.store([picture.picture for picture in drawn])
        return [
            self._images.add(picture.picture, {"tool": "tools.text2image", "prompt": item.prompt, "seed": item.seed})
            for item, picture in zip(items, drawn, strict=True)
        ]

    async def edit_images(self, images: list[ImageRef], edits: list[str]) -> tuple[list[ImageRef], list[str]]:
        """Change images by instructions, to see what a single change does to the neuron.

        Args:
            images: Images of any kind. A masked view is edited as its original, without the darkening.
            edits: One instruction per image. With a single image, every instruction is applied to it; with a single
                instruction, it is applied to every image.

        Returns:
            (all_images, all_prompts), each original followed by its edited image, so that
            all_images[0], all_images[2], … are originals and all_images[1], all_images[3], … are edited;
            all_prompts is ["Original Image", "Editing Prompt: …", "Original Image", "Editing Prompt: …", …].
            What could not be done as asked is printed.

        Example:
            all_images, all_prompts = tools.edit_images(images[:1], ["remove the dog", "replace the dog with a cat"])
            activations, views = system.call_neuron(all_images)
        """
        refs = await image_list(images, "images", self._images)
        pairs = pair_up(refs, texts(edits, "edits"), ("images", "edits"))
        originals = [self._images.source(ref.id) for ref, _ in pairs]
        items = [
            EditItem(self._images.picture(original.id), edit, self._seed(index))
            for index, (original, (_, edit)) in enumerate(zip(originals, pairs, strict=True))
        ]
        edited = await self.study.servers.editing.edit(items, self.call.terms)
        self._warn([picture.warnings for picture in edited], [edit for _, edit in pairs])
        await self._images.store([picture.picture for picture in edited])
        all_images: list[ImageRef] = []
        all_prompts: list[str] = []
        for original, item, picture in zip(originals, items, edited, strict=True):
            source = {
                "tool": "tools.edit_images",
                "instruction": item.instruction,
                "of": original.id,
                "seed": item.seed,
            }
            all_images += [original, self._images.add(picture.picture, source)]
            all_prompts += ["Original Image", f"Editing Prompt: {item.instruction}"]
        return all_images, all_prompts

    async def describe_images(self, images: list[ImageRef], titles: list[str]) -> str:
        """Put images into words, each on its own.

        Args:
            images: Of a masked view, only the region that is not darkened is described; of any other image, all of it.
            titles: A name for each image.

        Returns:
            One text with a line per image: "title", HIGHLIGHTED REGIONS: what is there.

        Example:
            print(tools.describe_images(views, [f"activation {a}" for a in activations]))
        """
        refs = await image_list(images, "images", self._images)
        names = texts(titles, "titles", numbers=True, limit=MAX_TITLE_CHARS)
        if len(refs) != len(names):
            raise ToolError(f"images has {len(refs)} items and titles has {len(names)}; give one title per image")
        words = await self.study.words.describe(await self._regions(refs), self.call)
        return "\n".join(
            f'"{_one_line(name)}", HIGHLIGHTED REGIONS: {_one_line(word)}'
            for name, word in zip(names, words, strict=True)
        )

    async def summarize_images(self, images: list[ImageRef]) -> str:
        """Say in words what images have in common.

        Args:
            images: Of masked views, only the regions that are not darkened count. Lists of lists are fine.

        Returns:
            One text.

        Example:
            print(tools.summarize_images([view for activation, view in tools.dataset_exemplars(system)]))
        """
        refs = await image_list(images, "images", self._images, nested=True)
        return await self.study.words.summarize(await self._regions(refs), self.call)

    async def display(self, *items: object) -> None:
        """Show things to yourself: you see them in the next message, images as pictures.

        Images that are not displayed stay unseen, also to you.

        Args:
            items: Texts, numbers, images, matplotlib figures, arrays, or lists of them, shown in order.

        Example:
            tools.display("before and after", activations, views)
        """
        display = Display(self._images)
        for item in items:
            display.add(item)
        self.call.shown.extend(await display.parts())

    @property
    def _images(self) -> ImageTable:
        return self.study.images

    def _seed(self, index: int) -> int:
        return seed_of(self.study.seed, self.study.unit, self.call.number, index)

    async def _regions(self, refs: list[ImageRef]) -> list[Region]:
        images = self._images
        return await asyncio.to_thread(
            lambda: [Region(images.picture(images.source(ref.id).id), images.mask(ref.id)) for ref in refs]
        )

    def _warn(self, warnings: list[tuple[str, ...]], about: list[str]) -> None:
        for sentences, text in zip(warnings, about, strict=True):
            for sentence in sentences:
                self.call.note(f"{_one_line(text)!r}: {sentence}")


ToolFunction = Callable[..., Awaitable[object]]
"""A tool: its first parameter is the Toolbox of the call, the others are what the agent passes."""

TOOLS: Final[Mapping[str, ToolFunction]] = types.MappingProxyType(
    {
        "system.call_neuron": Toolbox.call_neuron,
        "tools.dataset_exemplars": Toolbox.dataset_exemplars,
        "tools.text2image": Toolbox.text2image,
        "tools.edit_images": Toolbox.edit_images,
        "tools.describe_images": Toolbox.describe_images,
        "tools.summarize_images": Toolbox.summarize_images,
        "tools.display": Toolbox.display,
    }
)
"""The tools by the names that agents know, in the order in which they are explained."""

CONSTANTS: Final[Mapping[str, str]] = types.MappingProxyType(
    {
        "system.layer": "str, the neuron's layer",
        "system.neuron_num": "int, the neuron's number in its layer",
        "system.model_name": "str, the network's name",
    }
)
"""The constants of every session: type and meaning."""


def with_own(own: Mapping[str, ToolFunction]) -> Mapping[str, ToolFunction]:
    """Return the tools and further ones.

    Args:
        own: By name, such as "tools.brightness": an async function whose first parameter is a `Toolbox`. Its other
            parameters are annotated as the agent should pass them, and its docstring is for the agent, as here. It
            raises ToolError for a fault of the agent's code.

    Raises:
        ValueError: A name that is not of that form or is taken, or a function that cannot be a tool.
    """
    for name, function in own.items():
        holder, _, rest = name.partition(".")
        if holder != "tools" or not rest.isidentifier() or name in TOOLS:
            raise ValueError(
                f"{name!r} cannot be the name of a tool of your own; name it tools.NAME, unlike {', '.join(TOOLS)}"
            )
        if not inspect.iscoroutinefunction(function):
            raise ValueError(f"{name} is no async function; write `async def`")
        if not inspect.getdoc(function):
            raise ValueError(f"{name} has no docstring, and agents read nothing else about it")
    return types.MappingProxyType({**TOOLS, **own})


def tool_specs(tools: Mapping[str, ToolFunction] = TOOLS) -> tuple[ToolSpec, ...]:
    """Return what a guest is told about the tools."""
    return tuple(ToolSpec.of(types.MethodType(function, object()), name) for name, function in tools.items())


def constants(unit: UnitName) -> dict[str, object]:
    """Return the values of CONSTANTS for a unit."""
    return {"system.layer": unit.layer, "system.neuron_num": unit.index, "system.model_name": unit.model}


def _rounded(activation: float) -> float:
    return round(activation, 2) + 0.0  # no "-0.0"


def _one_line(text: str) -> str:
    return " ".join(text.split())
