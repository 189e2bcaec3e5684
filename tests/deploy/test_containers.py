"""The images, built and started: a demo run over TLS, a server killed in the middle, and no way out of the sandbox.

`make deploy-test` and CI run these; they need a Docker engine, docker-compose and the images with the tag that
MAIA_TEST_IMAGES names.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
PROJECT: Final = "maiatest"
TAG: Final = os.environ.get("MAIA_TEST_IMAGES", "")
LARGEST_MB: Final = {"sandbox": 400, "orchestrator": 450, "services": 1800}
RUN_S: Final = 600.0

pytestmark = pytest.mark.skipif(
    not TAG or shutil.which("docker-compose") is None,
    reason="MAIA_TEST_IMAGES names no images, or there is no docker-compose: make deploy-test",
)

ATTEMPTS: Final = """
import socket
def reached(family, kind, where):
    try:
        with socket.socket(family, kind) as one:
            one.settimeout(2)
            one.connect(where)
            if kind == socket.SOCK_DGRAM:
                one.send(b"?")
                one.recv(1)
        return True
    except OSError:
        return False
gateway = open("/proc/net/route").read().split("\\n")[1].split()[2]
router = ".".join(str(int(gateway[i:i + 2], 16)) for i in (6, 4, 2, 0))
targets = [(router, 22), (router, 2375), ("1.1.1.1", 53), ("169.254.169.254", 80), (SUBJECT, 7400)]
print([where for where in targets if reached(socket.AF_INET, socket.SOCK_STREAM, where)])
for name in ("subject", "generation", "deb.debian.org"):
    try:
        print(name, socket.gethostbyname(name))
    except OSError:
        pass
"""


def compose(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(
        ["docker-compose", "-p", PROJECT, *arguments],
        cwd=DEPLOY,
        env=os.environ | {"MAIA_TAG": TAG},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def docker(*arguments: str, text: str | None = None) -> str:
    return subprocess.run(["docker", *arguments], input=text, capture_output=True, text=True, check=True).stdout.strip()


def containers(service: str) -> list[str]:
    return compose("ps", "-q", service).split()


@pytest.fixture(scope="module")
def finished() -> Iterator[str]:
    """A run during which one of two subject servers was killed; the orchestrator's container."""
    compose("down", "-v")
    try:
        compose("up", "-d", "--scale", "subject=2")
        (orchestrator,) = containers("orchestrator")
        killed = False
        until = time.monotonic() + RUN_S
        while docker("inspect", "-f", "{{.State.Running}}", orchestrator) == "true":
            assert time.monotonic() < until, compose("logs", "--no-color")
            # The first call that measures says that the run is in the middle of its work.
            if not killed and "MeasureUnits" in (logs := compose("logs", "--no-color", "subject")):
                line = next(line for line in logs.splitlines() if "MeasureUnits" in line)
                number = int(line.split("|")[0].strip().rpartition("_")[2])
                docker("kill", f"{PROJECT}_subject_{number}")
                killed = True
            time.sleep(0.2)
        assert killed, compose("logs", "--no-color")
        yield orchestrator
    finally:
        compose("down", "-v", check=False)


@pytest.mark.parametrize("image", LARGEST_MB)
def test_an_image_is_small(image: str) -> None:
    size = int(docker("image", "inspect", "-f", "{{.Size}}", f"maia/{image}:{TAG}"))
    assert size <= LARGEST_MB[image] * 1_000_000


@pytest.mark.parametrize(
    ("image", "absent"), [("orchestrator", "torch"), ("sandbox", "maia.cli anthropic openai docker")]
)
def test_an_image_lacks_what_it_must_not_have(image: str, absent: str) -> None:
    code = "import importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    run = ("run", "--rm", "--network", "none", "--read-only", "--entrypoint", "python", f"maia/{image}:{TAG}")
    assert docker(*run, "-c", code, *absent.split()) == "[]"


def test_a_run_is_completed_though_a_server_is_killed_in_it(finished: str) -> None:
    logs = compose("logs", "--no-color", "orchestrator")
    assert docker("inspect", "-f", "{{.State.ExitCode}}", finished) == "0", logs


def test_the_sandbox_host_made_jails(finished: str) -> None:
    (sandbox,) = containers("sandbox")
    about = json.loads(docker("inspect", sandbox))[0]
    assert about["Config"]["User"] == "10001:10001"
    assert about["HostConfig"]["ReadonlyRootfs"] is True
    assert about["HostConfig"]["CapAdd"] is None
    assert about["HostConfig"]["Privileged"] is False
    asked = (
        "from maia.sandbox import SyncSandbox\n"
        "with SyncSandbox(tier='jail') as box: print(box.run('print(6*7)').output)"
    )
    assert docker("exec", "-i", sandbox, "python", "-", text=asked).strip() == "42"


def test_the_sandbox_container_has_no_way_out(finished: str) -> None:
    """Tried by the host's own user, outside of any jail: from within a jail there is not even a socket."""
    (sandbox,) = containers("sandbox")
    subject = containers("subject")[0]
    address = docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", subject)
    code = f"SUBJECT = {address or '172.30.0.2'!r}\n" + ATTEMPTS
    assert docker("exec", "-i", sandbox, "python", "-", text=code) == "[]"
