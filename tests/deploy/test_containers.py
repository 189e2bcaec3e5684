"""The images, built and started: a demo run over TLS, a server killed in the middle, and no way out of the sandbox.

`make deploy-test` and CI run these; they need a Docker engine, docker-compose and the images with the tag that
MAIA_TEST_IMAGES names.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from maia.cli.config import ADDRESSES

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
PROJECT: Final = "maiatest"
TAG: Final = os.environ.get("MAIA_TEST_IMAGES", "")
LARGEST_MB: Final = {"sandbox": 400, "orchestrator": 450, "services": 1800}
RUN_S: Final = 600.0

pytestmark = pytest.mark.skipif(
    not TAG or shutil.which("docker-compose") is None,
    reason="MAIA_TEST_IMAGES names no images, or there is no docker-compose: make deploy-test",
)

REACHED: Final = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def answers(where):
    host, _, port = where.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        return True
    except OSError:
        return False
asked = sys.argv[1:]
print([where for where, yes in zip(asked, ThreadPoolExecutor(len(asked)).map(answers, asked)) if yes])
"""
"""Which of its arguments, HOST:PORT, it reaches."""

OPENED: Final = """
import socket
def opens(*kind):
    try:
        socket.socket(*kind).close()
        return True
    except OSError:
        return False
def writes(path):
    try:
        open(path, "a").close()
        return True
    except OSError:
        return False
# Raw, of the link, of the packet filter; what would be somebody else's to change.
print([kind for kind in ((2, 3, 1), (17, 3, 0), (16, 3, 12)) if opens(*kind)])
print([path for path in ("/etc/maia/tls/tls.key", "/etc/maia/maia.toml", "/etc/passwd", "/usr/local/bin/maia-health",
       "/var/lib/maia/here", "/proc/sys/kernel/core_pattern") if writes(path)])
"""
"""Which doors of the kernel and which files are open to it."""

GUEST: Final = """
import os
print(6 * 7)
print(sorted({"etc", "tmp", "proc", "sys", "var", "run", "home", "root"} & set(os.listdir("/"))), os.listdir("/etc"))
try:
    import socket
    socket.socket()
    print("a socket")
except OSError:
    pass
"""

IN_A_JAIL: Final = f"""
from maia.sandbox import SyncSandbox
with SyncSandbox(tier="jail", policy="off") as box:
    print(box.run({GUEST!r}).output)
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
    there = docker("exec", "-i", sandbox, "python", "-", text=IN_A_JAIL)
    assert there.splitlines() == ["42", "['etc', 'tmp'] ['passwd']"]  # no certificate, nobody else's files


def test_each_container_has_its_own_key_and_nobody_else_may_read_it(finished: str) -> None:
    keys = set()
    for service in ("generation", "editing", "sandbox"):
        (container,) = containers(service)
        assert docker("exec", container, "stat", "-c", "%a %u", "/etc/maia/tls/tls.key") == "600 10001"
        assert docker("exec", container, "ls", "/etc/maia/tls").split() == ["ca.crt", "tls.crt", "tls.key"]
        keys.add(docker("exec", container, "cat", "/etc/maia/tls/tls.key"))
    assert len(keys) == 3


def test_no_log_has_a_key_in_it(finished: str) -> None:
    assert "PRIVATE KEY" not in compose("logs", "--no-color")


def test_the_sandbox_container_has_no_way_out(finished: str) -> None:
    """Tried by the host's own user, outside of any jail: from within a jail there is not even a socket."""
    (sandbox,) = containers("sandbox")
    servers = {f"{address}:7400" for name in ADDRESSES for one in containers(name) for address in addresses_of(one)}
    assert len(servers) >= len(ADDRESSES)
    with socket.create_server(("0.0.0.0", 0)) as here:
        machine = {f"{address}:{here.getsockname()[1]}" for address in addresses_of_this_machine()}
        assert reached_from(sys.executable, "-", among=machine) == machine
        far = {"1.1.1.1:53", "169.254.169.254:80", "deb.debian.org:80", "subject:7400"}
        targets = servers | machine | far
        assert reached_from("docker", "exec", "-i", sandbox, "python", "-", among=targets) == set()
        # The same finds what may be reached: servers are on a network of theirs, which leads nowhere else.
        (generation,) = containers("generation")
        found = reached_from("docker", "exec", "-i", generation, "python", "-", among=targets)
        assert found == servers | {"subject:7400"}


def test_the_sandbox_container_has_no_door_into_the_kernel(finished: str) -> None:
    (sandbox,) = containers("sandbox")
    assert docker("exec", "-i", sandbox, "python", "-", text=OPENED).splitlines() == ["[]", "[]"]


def addresses_of(container: str) -> list[str]:
    return docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", container).split()


def addresses_of_this_machine() -> set[str]:
    found = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
    return {address for address in found if ":" not in address}


def reached_from(*python: str, among: set[str]) -> set[str]:
    done = subprocess.run([*python, *sorted(among)], input=REACHED, capture_output=True, text=True, check=True)
    return set(ast.literal_eval(done.stdout))
