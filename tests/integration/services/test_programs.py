"""Each server as the program that `python -m` starts."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from maia.wire.channels import open_channel, wait_until_serving

SERVERS = {
    "subject": ("maia.subject.v1.SubjectService", ["--model", "scene-neurons"]),
    "generation": ("maia.generation.v1.GenerationService", []),
    "editing": ("maia.editing.v1.EditingService", []),
    "description": ("maia.description.v1.DescriptionService", []),
    "exemplars": ("maia.exemplars.v1.ExemplarsService", []),
}
PIPE = asyncio.subprocess.PIPE


async def run(*arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *arguments, stdout=PIPE, stderr=PIPE)
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


@pytest.mark.parametrize("name", SERVERS)
async def test_a_server_announces_itself_serves_and_ends_with_its_parent(name: str, tmp_path: Path) -> None:
    service, arguments = SERVERS[name]
    listen = f"unix:{tmp_path}/s.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"maia.services.{name}", "--announce", "--end-with-stdin", "--listen", listen, *arguments,
        stdin=PIPE, stdout=PIPE, stderr=PIPE, env={"XDG_CACHE_HOME": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
    assert ready == {"ready": name, "address": listen, "pid": process.pid}
    async with open_channel(ready["address"]) as channel:
        await wait_until_serving(channel, server=name, timeout_s=10, service=service)
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    process.stdin.close()
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["maia.services.subject", "--model", "resnet"], "there are scene-neurons, scenes-cnn"),
        (["maia.services.generation", "--listen", "0.0.0.0:80"], "not on this machine"),
        (["maia.services.generation", "--listen", "here"], "is no address"),
        (["maia.services.editing", "--backend", "flux"], "backend"),
        (["maia.services.building", "build", "--model", "scenes-cnn", "--shards", "2"], "which of the 2 parts"),
    ],
)
async def test_a_wrong_setting_is_one_line_and_code_2(arguments: list[str], says: str) -> None:
    code, output, errors = await run(*arguments)
    assert code == 2
    assert output == ""
    assert says in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("name", SERVERS)
async def test_help_names_the_settings(name: str) -> None:
    code, output, _ = await run(f"maia.services.{name}", "--help")
    assert code == 0
    assert "--listen" in output
    assert f"MAIA_{name.upper()}_" in output
