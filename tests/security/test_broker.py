"""Attacks on what answers tool calls: references, quotas, arguments, calls within calls."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from tests.security.attack import LIMITS, Tier, each, once_in_containers
from tests.security.conftest import Attack

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox import Host, ImageRef, Pixels, SessionError, Tool, ToolError
from maia.sandbox.protocol.frames import encode
from maia.sandbox.protocol.values import encode_value

pytestmark = [pytest.mark.asyncio(loop_scope="session"), once_in_containers]


class OneImage:
    """A table with one image, which remembers what was asked of it."""

    def __init__(self, name: str = "mine") -> None:
        self.name = name
        self.given: list[str] = []

    async def pixels(self, ref_id: str) -> Pixels:
        self._check(ref_id)
        return Pixels("L", 1, 1, b"x")

    async def encoded(self, ref_id: str) -> bytes:
        self._check(ref_id)
        return b"x"

    def source(self, ref_id: str) -> ImageRef:
        self._check(ref_id)
        return ImageRef(self.name, 1, 1)

    def _check(self, ref_id: str) -> None:
        if ref_id != self.name:
            raise ToolError(f"there is no image {ref_id!r} in this session")
        self.given.append(ref_id)


IMAGES = OneImage()
TAKEN: list[object] = []


async def give() -> ImageRef:
    """An image."""
    return ImageRef("mine", 1, 1)


async def show(image: ImageRef) -> None:
    """Show an image."""
    TAKEN.append(image)


async def take(what: object) -> None:
    """Take anything."""
    TAKEN.append(what)


async def take_picture(what: Pixels) -> None:
    """Take a picture."""
    TAKEN.append(what)


async def number(x: list[float] | dict[str, float]) -> None:
    """Take numbers."""


async def choice(x: Literal["a", "b"]) -> None:
    """Take a letter."""


async def act(x: int) -> None:
    """Act."""
    TAKEN.append(x)


# Made once, so that attacks which leave their session sound can have the same one.
GIVE, SHOW, TAKE, ACT = ([Tool.of(function)] for function in (give, show, take, act))
TAKE_PICTURE = [Tool.of(take_picture, "take")]
CHECKED = [Tool.of(number), Tool.of(choice)]


@pytest.fixture(autouse=True)
def _nothing_taken() -> None:
    IMAGES.given.clear()
    TAKEN.clear()


FORGED = {
    "of another session": "theirs",
    "that was guessed": "0",
    "that is almost right": "mine ",
    "that differs in case": "MINE",
    "that looks the same": "m\u0456ne",
    "that climbs out of a folder": "../mine",
    "that is a path of the host": "/etc/passwd",
    "that is an address": "file:///etc/passwd",
    "that ends early": "mine\\x00.png",
    "that is a pattern": "*",
    "that is a statement": "' or 1=1 --",
    "that is long": "mine" * 50,
    "that breaks a line": "mine\\nmine",
}


@each("asked", FORGED)
@pytest.mark.parametrize("how", ["array()", "base64()", "source"])
async def test_a_reference_that_code_makes_up_is_an_error_in_the_guest(attack: Attack, asked: str, how: str) -> None:
    code = (
        "from maia.sandbox.protocol.types import ImageRef\nimage = give()\n"
        f'forged = type(image)(ImageRef("{asked}", 1, 1), image._call)\n'
        f"try:\n    print('got', forged.{how})\nexcept ToolError as error:\n    print('refused')"
    )
    async with attack(code, tools=GIVE, images=IMAGES) as result:
        assert result.said("refused\n"), (result.output, result.message)
    assert IMAGES.given == []


async def test_a_reference_of_one_session_means_nothing_in_another(host: Host) -> None:
    code = "image = give()\nprint(image.array().shape)"
    tools = [Tool.of(give)]
    async with await host.open(policy="off", limits=LIMITS, tools=tools, images=OneImage()) as one:
        assert (await one.run(code)).output == "(1, 1, 3)\n"
        async with await host.open(policy="off", limits=LIMITS, tools=tools, images=OneImage("another")) as other:
            assert "there is no image 'mine'" in (await other.run(code)).message
        async with await host.open(policy="off", limits=LIMITS, tools=tools) as without:
            assert "no images" in (await without.run(code)).message


async def test_a_reference_is_passed_to_a_tool_as_what_it_is_and_no_more(attack: Attack) -> None:
    code = (
        "from maia.sandbox.protocol.types import ImageRef\nfrom maia.sandbox.guest.images import Image as Handle\n"
        "class Sly(ImageRef):\n    def __reduce__(self):\n        return print, ('pickled',)\n"
        "show(Handle(Sly('../x', 1, 1), None))"
    )
    async with attack(code, tools=SHOW) as result:
        assert TAKEN in ([], [ImageRef("../x", 1, 1)])
        assert [type(image) for image in TAKEN] in ([], [ImageRef])
        assert result.status in ("ok", "policy")


class Evil:
    """Unpickling it calls a function."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("unpickled",)


PICKLES = {
    "as bytes": "take({data!r})",
    "as a text": "take({data!r}.decode('latin-1'))",
    "in a list": "take([{data!r}, [{data!r}]])",
    "in an array of bytes": "take(np.frombuffer({data!r}, 'u1'))",
    "in an array of objects": """
        import os
        class Evil:
            def __reduce__(self):
                return os.getpid, ()
        take(np.array([Evil()]))
    """,
    "in a structured array": "take(np.zeros(2, dtype=[('a', 'O'), ('b', 'i4')]))",
    "as an object with a conversion of its own": (
        "class Evil:\n    def __reduce__(self):\n        return print, ('unpickled',)\n    def __getstate__(self):\n"
        "        return 1\ntake(Evil())"
    ),
    "as a file of NumPy's": (
        "import io\nbuffer = io.BytesIO()\nnp.save(buffer, np.array([print], dtype=object), allow_pickle=True)\n"
        "take(buffer.getvalue())"
    ),
    "as a picture's pixels": "take(Image.frombytes('L', (len({data!r}), 1), {data!r}))",
    "as a key": "take({{{data!r}: 1}})",
}


@each("code", PICKLES)
async def test_a_pickle_is_never_loaded_outside(
    attack: Attack, code: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise AssertionError("something was unpickled")

    data = pickle.dumps(Evil())
    for name in ("load", "loads"):
        monkeypatch.setattr(pickle, name, refuse)
    async with attack(code.format(data=data), tools=TAKE) as result:
        assert result.status in ("ok", "exception", "policy"), result.message
    assert "unpickled" not in capfd.readouterr().out
    for value in TAKEN:
        assert type(value) in (bytes, str, list, dict, np.ndarray, Pixels)
        assert not isinstance(value, np.ndarray) or value.dtype.kind == "u"


async def test_a_picture_that_leaves_is_never_decoded_outside(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    def refuse(*_: object, **__: object) -> object:
        raise AssertionError("a picture was decoded")

    taken: list[object] = []

    async def take(what: Pixels | bytes) -> None:
        """Take a picture."""
        taken.append(what)

    monkeypatch.setattr(Image, "open", refuse)
    code = (
        "import io\nx = Image.new('RGB', (3, 2), 'red')\ntake(x)\nbuffer = io.BytesIO()\nx.save(buffer, 'PNG')\n"
        "take(buffer.getvalue())\ntake(np.zeros((2, 3, 3), 'u1'))"
    )
    async with attack(code, tools=[Tool.of(take)]) as result:
        assert result.early or [type(value) for value in taken] == [Pixels, bytes, Pixels], result.message
        assert result.early or len(taken[0].data) == 18  # type: ignore[attr-defined]


ROOMY = replace(LIMITS, memory_mb=400)

OVERSIZE = {
    "a picture that is too wide": "take(Image.new('L', (20000, 1)))",
    "a picture that is too high": "take(Image.new('L', (1, 20000)))",
    "a picture without pixels": "take(Image.new('L', (0, 0)))",
    "a picture that is too large for a frame": "take(Image.new('RGB', (8000, 8000)))",
    "an array that is too large for a frame": "take(np.zeros(9_000_000))",
    "an array that is no picture": "take(np.zeros((2, 2, 2, 2), 'u1'))",
    "a list that is too long": "take([0] * 100_000)",
    "a list that is too deep": "x = []\nfor _ in range(100):\n    x = [x]\ntake(x)",
    "a list that holds itself": "x = []\nx.append(x)\ntake(x)",
    "a text that is too long": "take('x' * 20_000_000)",
    "an integer that is too long": "take(10 ** 5000)",
    "an object": "take(object())",
    "a function": "take(print)",
    "a module": "take(math)",
    "a class": "take(int)",
    "a generator": "take(x for x in [1])",
    "a set": "take({1})",
    "a complex number": "take(1j)",
}


@each("code", OVERSIZE)
async def test_what_may_not_leave_is_an_error_in_the_guest(attack: Attack, code: str) -> None:
    async with attack(code, tools=TAKE_PICTURE, limits=ROOMY) as result:
        assert result.status in ("exception", "policy", "memory"), result.output
        assert result.early or (await result.session.run("print('still here')")).output == "still here\n"
    assert TAKEN == []


ARGUMENTS = {
    "an integer beyond floats": "10**400",
    "an integer beyond floats in a list": "[10**400]",
    "an integer beyond floats in a dict": "{'a': 10**400}",
    "an array": "np.zeros(3)",
    "an array without items": "np.zeros((0, 3))",
    "no number": "float('nan')",
    "a list in a list": "[[1.0]]",
    "a dict with other keys": "{1: 2.0}",
    "nothing": "None",
    "a truth": "[True, 'x']",
    "a text": "'1.0'",
}


@each("argument", ARGUMENTS)
async def test_an_argument_that_breaks_its_check_is_the_blocks_error_and_not_the_hosts(
    attack: Attack, argument: str
) -> None:
    code = "".join(
        f"try:\n    {name}({argument})\nexcept ToolError:\n    print('refused')\n" for name in ("number", "choice")
    )
    async with attack(code, tools=CHECKED) as result:
        assert result.output == "refused\n" * 2, result.message


SHAPES = {
    "too many arguments": "act(1, 2, 3)",
    "too few arguments": "act()",
    "an unknown keyword": "act(1, y=2)",
    "an argument twice": "act(1, x=1)",
    "a keyword of Python's": "act(1, **{'class': 2})",
    "a keyword that is no name": "act(1, **{'': 2, ' ': 3})",
    "the name of the object": "act(1, self=2)",
    "a thousand keywords": "act(1, **{f'k{n}': n for n in range(1000)})",
}


@each("code", SHAPES)
@pytest.mark.parametrize("forged", [False, True], ids=["by the stub", "by a frame of its own"])
async def test_arguments_that_do_not_fit_never_reach_the_tool(attack: Attack, code: str, forged: bool) -> None:
    around = "import maia.sandbox.guest.stubs as stubs\nact = lambda *a, **k: image_call('act', a, k)\n"
    get = "image_call = [c.cell_contents for c in act.__closure__ if hasattr(c.cell_contents, '__self__')][0]\n"
    async with attack(get + around + code if forged else code, tools=ACT) as result:
        assert result.status in ("exception", "policy")
    assert TAKEN == []


async def test_a_tool_cannot_run_blocks_of_the_session_that_called_it(host: Host) -> None:
    refused: list[str] = []

    async def again() -> None:
        """Call back."""
        try:
            await session.run("print('inner')")
        except SessionError as error:
            refused.append(str(error))

    async with await host.open(tools=[Tool.of(again)], limits=LIMITS) as session:
        outcome = await session.run("again()\nprint('outer')")
    assert outcome.output == "outer\n"
    assert "one at a time" in refused[0]


async def test_a_call_within_a_call_is_refused(attack: Attack) -> None:
    """Code that runs while arguments are converted calls the tool again."""
    code = """
class Sly(list):
    def __iter__(self):
        try:
            act([1])
            print('answered')
        except Exception as error:
            print(type(error).__name__, 'in progress' in str(error))
        return super().__iter__()
act(Sly([2]))
"""
    called: list[object] = []

    async def act(x: list[int]) -> None:
        """Act."""
        called.append(x)

    async with attack(code, tools=[Tool.of(act)]) as result:
        assert result.early or result.output in ("ToolError True\n", ""), result.output
        assert called in ([], [[2]])


async def test_calls_from_threads_are_answered_one_after_another_or_refused(attack: Attack, policy: str) -> None:
    running = most = 0

    async def act() -> None:
        """Act for a moment."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    code = """
import threading
answers = []
def call():
    for _ in range(10):
        try:
            act()
            answers.append('ok')
        except ToolError:
            answers.append('refused')
threads = [threading.Thread(target=call) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(answers), 'ok' in answers)
"""
    async with attack(code, tools=[Tool.of(act)]) as result:
        assert result.said("40 True\n"), (result.output, result.message)
        assert most <= 1


QUOTAS = {
    "of calls": (replace(LIMITS, tool_calls=3), "touch(1)", 3),
    "of bytes": (replace(LIMITS, tool_bytes=30_000), "touch(bytes(9000))", 3),
    "of pictures": (replace(LIMITS, images=3), "touch(Image.new('L', (9, 9)))", 3),
}


@pytest.mark.parametrize(("limits", "call", "most"), QUOTAS.values(), ids=QUOTAS)
async def test_a_quota_holds_over_blocks_and_over_checkpoints(host: Host, limits: Any, call: str, most: int) -> None:
    touched: list[object] = []

    async def touch(*what: object) -> None:
        """Remember the call."""
        touched.append(what)

    async with await host.open(policy="off", limits=limits, tools=[Tool.of(touch)]) as session:
        for _ in range(2):
            outcome = await session.run(
                f"try:\n    {call}\n    print('done')\nexcept ToolError as error:\n    print(error)"
            )
            assert outcome.output == "done\n"
        outcome = await session.run(f"{call}\nimport os\nos._exit(1)")  # what a killed block used stays used
        if session.alive:
            outcome = await session.run(f"try:\n    {call}\nexcept ToolError as error:\n    print(error)")
            assert "quota" in outcome.output
    assert len(touched) == most


async def test_a_quota_cannot_be_got_around_by_frames_of_its_own(host: Host) -> None:
    touched: list[object] = []

    async def touch(*what: object) -> None:
        """Remember the call."""
        touched.append(what)

    calls = [pb.ToolCall(call_id=n, name="touch", arguments=[encode_value(n)]) for n in range(1, 100)]
    data = b"".join(encode(pb.GuestFrame(tool_call=call)) for call in calls)
    code = f"import os, time\nos.write(1000, bytes.fromhex({data.hex()!r}))\ntime.sleep(60)"
    limits = replace(LIMITS, wall_s=0.5, tool_calls=5)
    async with await host.open(policy="off", limits=limits, tools=[Tool.of(touch)]) as session:
        assert (await session.run(code)).status.value == "wall_clock"
    assert len(touched) == 5


async def test_a_tools_own_failure_ends_the_session_and_its_text_stays_outside(host: Host, secret: str) -> None:
    async def fail() -> None:
        """Fail."""
        raise RuntimeError(f"the key is {secret}")

    async with await host.open(policy="off", limits=LIMITS, tools=[Tool.of(fail)]) as session:
        with pytest.raises(RuntimeError, match="the key is"):
            await session.run("try:\n    fail()\nexcept BaseException as error:\n    print(error)")
        assert not session.alive


async def test_the_text_of_a_refusal_is_bounded(attack: Attack) -> None:
    async def refuse(what: str) -> None:
        """Refuse."""
        raise ToolError(what)

    code = "try:\n    refuse('x' * 10**6)\nexcept ToolError as error:\n    print(len(str(error)) < 5000)"
    async with attack(code, tools=[Tool.of(refuse)]) as result:
        assert result.output == "True\n", result.message


async def test_a_call_that_waits_does_not_keep_the_guests_cpu_free(host: Host) -> None:
    async def wait() -> None:
        """Wait."""
        await asyncio.sleep(5)

    code = "import threading\ndef f():\n    while True: pass\nthreading.Thread(target=f, daemon=True).start()\nwait()"
    limits = replace(LIMITS, cpu_s=0.3)
    async with await host.open(policy="off", limits=limits, tools=[Tool.of(wait)]) as session:
        outcome = await session.run(code)
    assert outcome.status.value == "cpu"
    assert outcome.usage.cpu_s < 2


async def test_after_its_end_a_session_answers_nothing(host: Host, tier: Tier) -> None:
    called: list[object] = []

    async def touch() -> None:
        """Remember the call."""
        called.append(1)

    session = await host.open(policy="off", limits=LIMITS, tools=[Tool.of(touch)])
    await session.run(
        "import threading, time\ndef f():\n    while True:\n        touch()\nthreading.Thread(target=f).start()"
    )
    await session.close()
    count = len(called)
    await asyncio.sleep(0.1)
    assert len(called) == count
    with pytest.raises(SessionError):
        await session.run("pass")
    await session.close()
