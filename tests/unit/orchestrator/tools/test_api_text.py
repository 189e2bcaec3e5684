"""What agents read about the tools."""

import hashlib
import subprocess
import sys

from maia.orchestrator.api_text import api_text
from maia.orchestrator.events import UnitName
from maia.orchestrator.toolbox import TOOLS, constants, tool_specs
from maia.sandbox.guest.images import Image


def test_it_names_every_tool_with_its_signature_and_documentation() -> None:
    text = api_text()
    for spec in tool_specs():
        assert f"\n{spec.name}{spec.signature}\n" in text
        assert all(line.strip() in text for line in spec.doc.splitlines())
    assert text.count("\ntools.") + text.count("\nsystem.") == len(TOOLS) + len(constants(UnitName("m", "l", 0)))


def test_it_is_the_same_bytes_in_every_process() -> None:
    code = "from maia.orchestrator.api_text import api_text; import sys; sys.stdout.buffer.write(api_text().encode())"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)]
    assert [hashlib.sha256(run).hexdigest() for run in runs] == [hashlib.sha256(api_text().encode()).hexdigest()] * 2


def test_what_it_says_of_images_is_what_guests_have() -> None:
    for name in ("size", "source", "pil", "array", "base64"):
        assert f"  .{name}" in api_text()
        assert hasattr(Image, name)


def test_it_holds_no_dollar_that_a_template_would_take() -> None:
    assert "$" not in api_text()
