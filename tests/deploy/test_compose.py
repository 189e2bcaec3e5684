"""compose.yaml: nothing runs with more than it needs, and its one file of settings is understood by all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from maia.cli.config import ADDRESSES, load_config
from maia.sandbox.remote.settings import SandboxSettings
from maia.wire.settings import ServerSettings, load_settings

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
SETTINGS: Final = (DEPLOY / "maia.toml", DEPLOY / "kubernetes/base/maia.toml")


def test_all_parts_are_there() -> None:
    assert set(SERVICES) == {*ADDRESSES, "sandbox", "orchestrator", "certs"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_nothing_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["pull_policy"] == "never"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "devices", "user", "pid", "ipc", "userns_mode", "ports"} & set(service)
    assert not any("docker.sock" in volume for volume in service["volumes"])


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"certs"}))
def test_a_container_holds_its_own_certificate_only(name: str) -> None:
    tls = [volume for volume in SERVICES[name]["volumes"] if volume.startswith(("tls", "ca"))]
    assert tls == [f"tls-{name}:/etc/maia/tls:ro"]


def test_no_network_leads_outside_or_to_the_machine_or_into_the_other() -> None:
    for network in COMPOSE["networks"].values():
        assert network["internal"]
        assert network["driver_opts"]["com.docker.network.bridge.inhibit_ipv4"] == "true"
    # A machine with Docker forwards packets, and so does any container on two networks.
    assert SERVICES["orchestrator"]["sysctls"] == {"net.ipv4.ip_forward": 0}
    assert SERVICES["certs"]["network_mode"] == "none"


def test_the_sandbox_host_meets_orchestrators_alone() -> None:
    on_its_network = {name for name, service in SERVICES.items() if "sandbox" in service.get("networks", [])}
    assert on_its_network == {"sandbox", "orchestrator"}
    assert SERVICES["sandbox"]["networks"] == ["sandbox"]
    assert SERVICES["sandbox"]["dns"] == "127.0.0.1"


def test_whoever_runs_the_orchestrator_has_everyone_started() -> None:
    """`docker compose run orchestrator ...` starts what it depends on, and nothing else."""
    orchestrator = SERVICES["orchestrator"]
    assert set(orchestrator["depends_on"]) == {*ADDRESSES, "sandbox", "certs"}
    assert orchestrator["depends_on"]["certs"] == {"condition": "service_healthy"}
    # It takes the words of `maia`, as the image does, once all answer.
    waits, name = orchestrator["entrypoint"][2:]
    assert {f"{one}:7400" for one in (*ADDRESSES, "sandbox")} <= set(waits.replace(";", "").split())
    assert waits.endswith('exec maia "$$@"')
    assert name == "maia"
    assert orchestrator["command"][0] == "run"


def test_only_the_sandbox_host_has_another_profile() -> None:
    profiled = {name for name, service in SERVICES.items() if any("seccomp" in one for one in service["security_opt"])}
    assert profiled == {"sandbox"}
    (profile,) = (one for one in SERVICES["sandbox"]["security_opt"] if one.startswith("seccomp:"))
    assert (DEPLOY / profile.removeprefix("seccomp:")).is_file()


def test_only_certs_and_the_orchestrator_see_more_than_a_server_does() -> None:
    networks = {name: service.get("networks", []) for name, service in SERVICES.items()}
    assert networks["orchestrator"] == ["tools", "sandbox"]
    assert all(networks[name] == ["tools"] for name in ADDRESSES)


def test_the_settings_are_the_same_everywhere() -> None:
    first, second = (file.read_text() for file in SETTINGS)
    assert first == second


def test_orchestrators_understand_the_settings() -> None:
    config = load_config({"config": SETTINGS[0]}, environment={})
    assert {name: config.address(name) for name in ADDRESSES} == {name: f"dns:///{name}:7400" for name in ADDRESSES}
    assert config.sandbox_address == "dns:///sandbox:7400"
    assert config.credentials is not None


@pytest.mark.parametrize("name", [*ADDRESSES, "sandbox"])
def test_servers_understand_the_settings(name: str) -> None:
    kind = SandboxSettings if name == "sandbox" else ServerSettings
    arguments = ["--config", str(SETTINGS[0]), "--listen", "0.0.0.0:7400"]
    options = load_settings(kind, name, arguments, program="python").options
    assert options.credentials is not None
    assert options.listen == "0.0.0.0:7400"
