"""Tool calls from a real guest."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from maia.sandbox import Host, ImageRef, Limits, Namespace, Pixels, SessionError, State, Status, Tool, ToolError

pytestmark = pytest.mark.asyncio(loop_scope="session")

RED = Pixels("RGB", 2, 1, b"\xff\x00\x00" * 2)


class Table:
    """Two images: a view and what it is a view of."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def _check(self, ref_id: str) -> None:
        if ref_id not in ("view", "original"):
            raise ToolError(f"there is no image {ref_id!r} in this session")

    async def pixels(self, ref_id: str) -> Pixels:
        self._check(ref_id)
        self.fetched.append(ref_id)
        return RED

    async def encoded(self, ref_id: str) -> bytes:
        self._check(ref_id)
        return b"\x89PNG"

    def source(self, ref_id: str) -> ImageRef:
        self._check(ref_id)
        return ImageRef("original", 2, 1)


async def echo(*values: object) -> list[object]:
    """Return the arguments."""
    return list(values)


def names(prompts: str | list[str], size: int = 3) -> list[str]:
    """Name things.

    Args:
        prompts: What to name.
    """
    return [f"{prompt}{size}" for prompt in ([prompts] if isinstance(prompts, str) else prompts)]


async def fail(kind: str) -> None:
    """Fail."""
    if kind == "caller":
        raise ToolError("there is no such thing as 'x'; choose a or b")
    raise RuntimeError("the server is down")


async def view() -> list[tuple[float, ImageRef]]:
    """A masked view."""
    return [(1.5, ImageRef("view", 2, 1))]


TOOLS = [
    Tool.of(echo, "tools.echo"),
    Tool.of(names, "tools.names"),
    Tool.of(fail, "tools.fail"),
    Tool.of(view, "tools.view"),
    Tool.of(names, "plain"),
]


async def test_values_travel_both_ways_with_their_types(host: Host) -> None:
    async with await host.open(tools=TOOLS) as session:
        outcome = await session.run(
            "given = [1, 2.5, 'é', None, True, (1, [2]), {'a': 1, 2: 'b'}, 10**30, b'x']\n"
            "print(tools.echo(*given) == given, tools.echo(np.arange(3))[0].sum(), plain(('a', 'b'), size=1))"
        )
    assert outcome.output == "True 3 ['a1', 'b1']\n"
    assert outcome.usage.tool_calls == 3


async def test_help_shows_signature_and_documentation(host: Host) -> None:
    async with await host.open(tools=TOOLS) as session:
        outcome = await session.run("help(tools.names)\nprint(tools)")
    assert "names(prompts: str | list[str], size: int = 3) -> list[str]" in outcome.output
    assert "What to name." in outcome.output
    assert "<tools: echo, names, fail, view>" in outcome.output


async def test_a_wrong_call_is_an_exception_that_says_what_is_right(host: Host) -> None:
    async with await host.open(tools=TOOLS) as session:
        missing = await session.run("tools.names()")
        wrong = await session.run("tools.names([1])")
        unsendable = await session.run("tools.echo({1, 2})")
        caught = await session.run("try:\n    tools.fail('caller')\nexcept ToolError as e:\n    print('caught', e)")
    assert "tools.names(prompts: str | list[str], size: int = 3) -> list[str]: missing" in missing.message
    assert "ToolError: tools.names: prompts[0] must be str, not int" in wrong.message
    assert "type set cannot be passed" in unsendable.message
    assert caught.output == "caught there is no such thing as 'x'; choose a or b\n"


async def test_a_tool_that_fails_by_itself_ends_the_session_with_its_error(host: Host) -> None:
    session = await host.open(tools=TOOLS)
    with pytest.raises(RuntimeError, match="the server is down"):
        await session.run("try:\n    tools.fail('system')\nexcept BaseException:\n    print('hidden')")
    assert not session.alive
    with pytest.raises(SessionError, match="RuntimeError"):
        await session.run("pass")


async def test_constants_and_objects(host: Host) -> None:
    async with await host.open(tools=TOOLS, constants={"system.layer": "layer4", "system.neuron_num": 3}) as session:
        outcome = await session.run("print(system.layer, system.neuron_num, system)\nprint(tools.echo([system])[0])")
    assert outcome.output.startswith("layer4 3 <system: layer, neuron_num>\n")
    assert repr(Namespace("system")) in outcome.output


async def test_image_handles_fetch_pixels_only_when_asked(host: Host) -> None:
    table = Table()
    async with await host.open(tools=TOOLS, images=table) as session:
        first = await session.run("[(activation, image)] = tools.view()\nprint(activation, image, image.size)")
        assert table.fetched == []
        second = await session.run(
            "print(image.array().tolist(), np.asarray(image).shape, image.pil().mode)\n"
            "print(image.source, image.source.source == image.source, image.base64())\n"
            "image.resize((1, 1))"
        )
    assert first.output == "1.5 <Image 2x1 view> (2, 1)\n"
    assert table.fetched == ["view"]
    assert second.output == "[[[255, 0, 0], [255, 0, 0]]] (1, 2, 3) RGB\n<Image 2x1 original> True iVBORw==\n"
    assert ".pil() gives a PIL image" in second.message


async def test_images_that_code_makes_go_out_as_raw_pixels(host: Host) -> None:
    seen: list[object] = []

    async def show(*items: object) -> None:
        """Show."""
        seen.extend(items)

    async with await host.open(tools=[Tool.of(show), *TOOLS], images=Table()) as session:
        outcome = await session.run(
            "import matplotlib.pyplot as plt\n"
            "figure = plt.figure(figsize=(1, 2), dpi=10)\n"
            "palette = Image.new('RGB', (2, 1), 'red').convert('P')\n"
            "show(Image.new('L', (1, 1), 7), palette, figure, tools.view()[0][1], np.zeros((1, 2)))"
        )
    assert outcome.ok, outcome.message
    gray, palette, figure, ref, array = seen
    assert gray == Pixels("L", 1, 1, b"\x07")
    assert palette == RED
    assert isinstance(figure, Pixels)
    assert (figure.mode, figure.width, figure.height) == ("RGBA", 10, 20)
    assert ref == ImageRef("view", 2, 1)
    assert isinstance(array, np.ndarray)


async def test_quotas_are_told_where_the_call_is_made(host: Host) -> None:
    async with await host.open(tools=TOOLS, limits=Limits(tool_calls=3, images=1), images=Table()) as session:
        outcome = await session.run(
            "image = tools.view()[0][1]\nimage.pil()\n"
            "try:\n    tools.echo(Image.new('L', (1, 1)))\nexcept ToolError as e:\n    print(e)"
        )
        assert (
            "tools.echo: nothing was done, for it is beyond the session's quota of images (images): 1" in outcome.output
        )
        assert outcome.usage.tool_calls == 3
        assert (await session.run("print(plain('a'))")).output == "['a3']\n"
        used_up = await session.run("plain('b')")
    assert "(tool_calls): 3 over its life, 0 left. Go on with what you have." in used_up.message


async def test_a_tool_that_returns_what_cannot_travel_ends_the_session(host: Host) -> None:
    def unsendable() -> object:
        """What cannot travel."""
        return {1, 2}

    async with await host.open(tools=[Tool.of(unsendable)]) as session:
        with pytest.raises(TypeError, match="tool unsendable returned what cannot be passed"):
            await session.run("unsendable()")
        assert not session.alive


async def test_the_wall_clock_stands_still_during_a_tool_call(host: Host) -> None:
    async def slow() -> None:
        """Wait."""
        await asyncio.sleep(0.5)

    async with await host.open(tools=[Tool.of(slow)], limits=Limits(wall_s=0.3)) as session:
        outcome = await session.run("slow()\nprint('still here')")
    assert outcome.output == "still here\n"
    assert outcome.usage.tool_s >= 0.5
    assert outcome.usage.wall_s < 0.3


async def test_cpu_time_does_not(host: Host) -> None:
    async def slow() -> None:
        """Wait."""
        await asyncio.sleep(30)

    spin = (
        "import threading\ndef spin():\n    while True: pass\n"
        "threading.Thread(target=spin, daemon=True).start()\nslow()"
    )
    async with await host.open(tools=[Tool.of(slow)], limits=Limits(cpu_s=0.2), policy="off") as session:
        outcome = await session.run(spin)
    assert outcome.status is Status.CPU


async def test_interrupt_gives_up_the_tool_call_and_keeps_the_state(host: Host) -> None:
    started = asyncio.Event()
    cancelled = asyncio.Event()

    async def slow() -> None:
        """Wait."""
        started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with await host.open(tools=[Tool.of(slow), *TOOLS]) as session:
        running = asyncio.create_task(session.run("x = 1\nslow()"))
        await started.wait()
        session.interrupt()
        outcome = await running
        assert cancelled.is_set()
        assert outcome.status is Status.INTERRUPTED
        assert outcome.state is State.KEPT
        assert (await session.run("print(x, tools.names('a'))")).output == "1 ['a3']\n"


async def test_a_second_call_from_a_thread_is_refused_clearly(host: Host) -> None:
    async def slow() -> str:
        """Wait."""
        await asyncio.sleep(0.3)
        return "slow"

    async with await host.open(tools=[Tool.of(slow), *TOOLS], policy="off") as session:
        outcome = await session.run(
            "import threading, time\n"
            "results = []\n"
            "thread = threading.Thread(target=lambda: results.append(slow()))\n"
            "thread.start()\n"
            "time.sleep(0.1)\n"
            "try:\n    tools.names('a')\nexcept ToolError as e:\n    print(e)\n"
            "thread.join()\n"
            "print(results, tools.names('b'))"
        )
    assert outcome.output == (
        "tools.names: another tool call is in progress; call tools one after another\n['slow'] ['b3']\n"
    )


@pytest.mark.parametrize("limits", [Limits(wall_s=0.3), Limits(cpu_s=0.3)])
async def test_calls_one_after_another_do_not_put_off_the_limits(host: Host, limits: Limits) -> None:
    def nothing() -> None:
        """Return at once."""

    async with await host.open(policy="off", tools=[Tool.of(nothing)], limits=limits) as session:
        outcome = await session.run("while True:\n    nothing()")
        assert outcome.status.value in ("wall_clock", "cpu")
        assert outcome.usage.cpu_s < 2
