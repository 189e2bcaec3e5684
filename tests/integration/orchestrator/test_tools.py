"""Ordinary MAIA experiments in a jailed session, on the scene world's real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from maia.orchestrator.clients import Addresses, Terms, open_servers
from maia.orchestrator.conversation import Part, Picture, Text
from maia.orchestrator.events import ImageAdded, ToolReturned, UnitName
from maia.orchestrator.gateway import Gateway
from maia.orchestrator.images import ImageTable
from maia.orchestrator.journal import JournalReader, JournalWriter
from maia.orchestrator.record import Record
from maia.orchestrator.toolbox import Study, run_tag
from maia.sandbox import Host, Outcome, Session
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.building.build import Build, build
from maia.services.description.hosting import host as host_description
from maia.services.description.settings import DescriptionSettings
from maia.services.editing.hosting import host as host_editing
from maia.services.editing.settings import EditingSettings
from maia.services.exemplars.hosting import host as host_exemplars
from maia.services.exemplars.settings import ExemplarsSettings
from maia.services.generation.hosting import host as host_generation
from maia.services.generation.settings import GenerationSettings
from maia.services.subject.hosting import host as host_subject
from maia.services.subject.settings import SubjectSettings
from maia.wire.server import running

UNIT = UnitName("scene-neurons", "mono", 0)


@dataclass
class Shown:
    parts: list[Part] = field(default_factory=list)

    def call_begins(self) -> None:
        pass

    def show(self, parts: Sequence[Part]) -> None:
        self.parts += parts


@dataclass
class Lab:
    folder: Path
    session: Session
    shown: Shown

    async def run(self, code: str) -> Outcome:
        return await self.session.run(code)

    async def printed(self, code: str) -> str:
        outcome = await self.run(code)
        assert outcome.ok, outcome.message
        return outcome.output


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exemplars")
    build(Build(UNIT.model, "scenes", folder, size=40))
    return folder


@pytest.fixture(scope="module")
def jail_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jail")


@pytest.fixture
async def lab(store: Path, jail_cache: Path, tmp_path: Path) -> AsyncIterator[Lab]:
    async with AsyncExitStack() as stack:
        thread = stack.enter_context(ModelThread("scenes"))
        entered, metrics = stack.enter_async_context, Metrics()
        services = [
            *await stack.enter_async_context(
                host_subject(SubjectSettings(model=("scene-neurons",)), thread, Metrics())
            ),
            *await entered(host_generation(GenerationSettings(), thread, metrics)),
            *await entered(host_editing(EditingSettings(), thread, metrics)),
            *await entered(host_description(DescriptionSettings(), thread, metrics)),
            *await entered(host_exemplars(ExemplarsSettings(store=store), thread, metrics)),
        ]
        at = (await stack.enter_async_context(running(services))).address
        servers = await stack.enter_async_context(open_servers(Addresses(at, at, at, at, at)))
        info = await servers.subject.info(UNIT.model, Terms.within(10))
        record = Record(stack.enter_context(JournalWriter(tmp_path / "unit")))
        images = ImageTable(record, tag=run_tag(0, UNIT))
        shown = Shown()
        gateway = Gateway(Study(servers, images, UNIT, info.revision, seed=0), record, shown)
        sandbox = await stack.enter_async_context(Host(cache_dir=jail_cache))
        session = await sandbox.open(tools=gateway.tools(), constants=gateway.constants(), images=images)
        await stack.enter_async_context(session)
        yield Lab(tmp_path / "unit", session, shown)


async def test_an_investigation_as_maia_writes_it(lab: Lab) -> None:
    printed = await lab.printed(
        "print(system.model_name, system.layer, system.neuron_num)\n"
        "exemplars = tools.dataset_exemplars(system)\n"
        "activations = [a for a, view in exemplars]\n"
        "print(len(exemplars), activations == sorted(activations, reverse=True))\n"
        "views = [view for a, view in exemplars]\n"
        "print(tools.describe_images(views, [str(a) for a in activations]).count('HIGHLIGHTED'))\n"
        "tools.display(*[view for a, view in exemplars[:3]])\n"
    )
    assert printed == "scene-neurons mono 0\n15 True\n15\n"
    assert [type(part) for part in lab.shown.parts] == [Picture] * 3
    printed = await lab.printed(
        "def measure(prompts):\n"
        "    images = tools.text2image(prompts)\n"
        "    activations, views = system.call_neuron(images)\n"
        "    return images, activations, views\n"
        "images, activations, views = measure(['a red circle', 'a red circle'])\n"
        "print(images[0] == images[1], np.array_equal(images[0].array(), images[1].array()))\n"
        "print(views[0].source == images[0], views[0].size, all(isinstance(a, float) for a in activations))\n"
        "pictures, titles = tools.edit_images(images[:1], ['remove the circle', 'make the circle blue'])\n"
        "print(len(pictures), titles[1])\n"
        "print(len(system.call_neuron(pictures)[0]), type(tools.summarize_images([views, [images]])).__name__)\n"
    )
    assert printed == "False False\nTrue (224, 224) True\n4 Editing Prompt: remove the circle\n4 str\n"


async def test_pictures_that_code_makes_are_measured_and_displayed(lab: Lab) -> None:
    printed = await lab.printed(
        "import matplotlib.pyplot as plt\n"
        "own = Image.new('RGB', (64, 48), 'red')\n"
        "a, views = system.call_neuron([own, np.asarray(own)])\n"
        "print(a[0] == a[1], views[0].source == views[1].source)\n"
        "fig, ax = plt.subplots()\n"
        "ax.bar(range(2), a)\n"
        "tools.display('my plot', fig, [own])\n"
        "tools.display(views[0].base64(), 'dogs')\n"
    )
    assert printed == "True True\n"
    kinds = [part.text if isinstance(part, Text) else (part.width, part.height) for part in lab.shown.parts]
    assert kinds == ["my plot", (640, 480), (64, 48), (64, 48), "dogs"]


async def test_a_masked_view_looks_masked_to_code_too(lab: Lab) -> None:
    printed = await lab.printed(
        "a, view = tools.dataset_exemplars(system)[0]\n"
        "dark = view.array().astype(int)\n"
        "whole = view.source.array().astype(int)\n"
        "print(sorted(set(np.unique((dark == whole).all(axis=2)).tolist())))\n"
        "print(bool((dark <= whole).all()), view.source.source == view.source)\n"
    )
    assert printed == "[False, True]\nTrue True\n"


async def test_mistakes_are_exceptions_that_code_can_catch(lab: Lab) -> None:
    printed = await lab.printed(
        "for mistake in (lambda: tools.text2image([]), lambda: system.call_neuron('a dog'),\n"
        "                lambda: tools.edit_images(tools.text2image(['a', 'b']), ['x', 'y', 'z'])):\n"
        "    try:\n"
        "        mistake()\n"
        "    except ToolError as error:\n"
        "        print(error)\n"
    )
    empty, text, lengths = printed.splitlines()
    assert empty == "prompts is empty; give at least one"
    assert text.startswith("images must be an image, not the text 'a dog'")
    assert lengths.startswith("images has 2 items and edits has 3")
    assert not (await lab.run("tools.text2image()")).ok


async def test_what_the_generator_cannot_draw_is_noted(lab: Lab) -> None:
    await lab.printed("tools.text2image(['a red circle and a zebra'])")
    (note,) = lab.shown.parts
    assert isinstance(note, Text)
    assert note.text.startswith("Note: 'a red circle and a zebra': ")
    assert "zebra" in note.text.rpartition(": ")[2]


async def test_the_journal_tells_the_whole_story(lab: Lab) -> None:
    await lab.printed("activations, views = system.call_neuron(tools.text2image(['a blue star']))")
    events = JournalReader(lab.folder).events
    drawn, view = (event for event in events if isinstance(event, ImageAdded))
    assert (drawn.source["tool"], drawn.source["prompt"]) == ("tools.text2image", "a blue star")
    assert (view.view_of, view.view["threshold_from"]) == (drawn.image_id, "exemplars")
    assert [event.error for event in events if isinstance(event, ToolReturned)] == ["", ""]
