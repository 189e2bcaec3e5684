"""The Kubernetes manifests, as kustomize renders them and the API's schemas take them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from maia.sandbox.remote.settings import SandboxSettings
from maia.services._runtime.picture_settings import PictureSettings
from maia.services.description.settings import DescriptionSettings
from maia.services.editing.settings import EditingSettings
from maia.services.exemplars.settings import ExemplarsSettings
from maia.services.generation.settings import GenerationSettings
from maia.services.subject.settings import SubjectSettings
from maia.wire.settings import ServerSettings, load_settings

KUBERNETES: Final = Path(__file__).parents[2] / "deploy/kubernetes"
RENDERED: Final = ("base", "overlays/cpu-demo", "overlays/gpu", "overlays/gvisor")
VERSION: Final = "1.31"
CUSTOM: Final = ("ScaledObject", "PodMonitor")  # of KEDA and Prometheus's operator: the API has no schemas of theirs
SETTINGS: Final[dict[str, type[ServerSettings]]] = {
    "subject": SubjectSettings,
    "generation": GenerationSettings,
    "editing": EditingSettings,
    "exemplars": ExemplarsSettings,
    "description": DescriptionSettings,
    "sandbox": SandboxSettings,
}
ROLES: Final = ("server", "sandbox", "orchestrator")

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")


@cache
def rendered(name: str) -> tuple[dict[str, Any], ...]:
    done = subprocess.run(["kubectl", "kustomize", str(KUBERNETES / name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(name: str, kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in rendered(name) if one["kind"] == kind}


def pods(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pods of a rendering: whose they are, and their template."""
    for one in rendered(name):
        if one["kind"] in ("Deployment", "Job"):
            yield one["metadata"]["name"], one["spec"]["template"]


@pytest.mark.parametrize("name", RENDERED)
def test_the_api_takes_everything(name: str) -> None:
    known = [one for one in rendered(name) if one["kind"] not in CUSTOM]
    assert known
    for one in known:
        kubernetes_validate.validate(one, VERSION, strict=True)  # raises


@pytest.mark.parametrize("name", RENDERED)
def test_every_container_has_nothing_that_it_does_not_need(name: str) -> None:
    for _, template in pods(name):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert not any("hostPath" in volume for volume in spec["volumes"])
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize("name", RENDERED)
def test_mounts_have_volumes_and_secrets_are_references(name: str) -> None:
    for owner, template in pods(name):
        spec = template["spec"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes), owner
        assert volumes["tls"]["secret"]["secretName"] == f"maia-{'orchestrator' if owner == 'demo' else owner}-tls"
    assert not of_kind(name, "Secret")


@pytest.mark.parametrize("name", RENDERED)
def test_probes_run_where_the_certificate_is(name: str) -> None:
    for deployment in of_kind(name, "Deployment").values():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["exec"]["command"] == ["maia-health"]
        assert {"name": "grpc", "containerPort": 7400} in container["ports"]
        assert container["args"][container["args"].index("--listen") + 1] == "0.0.0.0:7400"


@pytest.mark.parametrize("name", RENDERED)
def test_every_deployment_has_a_headless_service_and_a_budget(name: str) -> None:
    deployments, services, budgets = (of_kind(name, kind) for kind in ("Deployment", "Service", "PodDisruptionBudget"))
    assert set(deployments) == set(services) == set(budgets)
    for owner, deployment in deployments.items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert services[owner]["spec"]["clusterIP"] == "None"
        assert services[owner]["spec"]["selector"].items() <= labels.items()
        assert budgets[owner]["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("name", RENDERED)
def test_who_speaks_to_whom(name: str) -> None:
    policies = {one: policy["spec"] for one, policy in of_kind(name, "NetworkPolicy").items()}
    assert policies["nobody"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert policies["sandbox"] == {
        "podSelector": {"matchLabels": {"maia/role": "sandbox"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {"maia/role": "orchestrator"}}}],
                "ports": [{"port": 7400}],
            }
        ],
        "egress": [],
    }
    assert policies["servers"]["egress"] == []
    for owner, template in pods(name):
        role = template["metadata"]["labels"]["maia/role"]
        assert role in ROLES, owner
        # No other policy may add to what the sandbox's says.
        if role == "sandbox":
            chosen = [
                one
                for one, policy in policies.items()
                if policy["podSelector"].get("matchLabels", {}).items() <= template["metadata"]["labels"].items()
            ]
            assert sorted(chosen) == ["nobody", "sandbox"]


def test_metrics_may_be_read_by_other_pods() -> None:
    for name, deployment in of_kind("base", "Deployment").items():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        if any(port["name"] == "metrics" for port in container["ports"]):
            environment = {one["name"]: one["value"] for one in container["env"]}
            assert environment[f"MAIA_{name.upper()}_METRICS_LISTEN"] == "0.0.0.0:9464"
            assert environment[f"MAIA_{name.upper()}_METRICS_OPEN"] == "true"


def test_sandbox_hosts_make_jails_under_our_profile() -> None:
    for name in ("base", "overlays/cpu-demo", "overlays/gpu"):
        spec = of_kind(name, "Deployment")["sandbox"]["spec"]["template"]["spec"]
        profile = spec["securityContext"]["seccompProfile"]
        assert profile == {"type": "Localhost", "localhostProfile": "maia/seccomp-sandbox-host.json"}
        assert (KUBERNETES.parent / Path(profile["localhostProfile"]).name).is_file()
        assert spec["containers"][0]["args"][2:4] == ["--tier", "jail"]


def test_in_gvisor_a_pod_holds_one_session() -> None:
    spec = of_kind("overlays/gvisor", "Deployment")["sandbox"]["spec"]["template"]["spec"]
    assert spec["runtimeClassName"] == "gvisor"
    args = spec["containers"][0]["args"]
    assert args[args.index("--max-sessions") + 1] == "1"
    assert "--allow-unisolated" in args


def test_keda_scales_what_is_there_by_a_metric_that_is_there() -> None:
    from maia.services._runtime.metrics import Metrics

    scaled = of_kind("overlays/gpu", "ScaledObject")
    deployments = of_kind("overlays/gpu", "Deployment")
    metrics = {family.name for family in Metrics().registry.collect()}
    assert set(scaled) == {"subject", "generation", "editing", "description"}
    for name, one in scaled.items():
        assert one["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in deployments[name]["spec"]
        (trigger,) = one["spec"]["triggers"]
        assert trigger["metadata"]["query"] == f'sum(maia_queue_items{{job="{name}"}})'
        assert "maia_queue_items" in metrics
        # KEDA's own cooldownPeriod is heeded on the way to no replica only, where this never goes.
        assert one["spec"]["minReplicaCount"] > 0
        assert one["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]


def test_prometheus_asks_the_pods_that_keda_asks_it_about() -> None:
    (monitor,) = of_kind("overlays/gpu", "PodMonitor").values()
    chosen = monitor["spec"]["selector"]["matchLabels"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    jobs = set()
    for _, template in pods("overlays/gpu"):
        labels = template["metadata"]["labels"]
        if chosen.items() <= labels.items():
            jobs.add(labels[monitor["spec"]["jobLabel"]])
            (container,) = template["spec"]["containers"]
            assert endpoint["port"] in {port["name"] for port in container["ports"]}
    assert set(of_kind("overlays/gpu", "ScaledObject")) <= jobs


@pytest.mark.parametrize("name", RENDERED)
def test_servers_take_their_arguments_and_keep_less_than_fits(name: str) -> None:
    for owner, deployment in of_kind(name, "Deployment").items():
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        arguments = container["args"] if owner == "sandbox" else container["args"][1:]
        settings = load_settings(SETTINGS[owner], owner, arguments, program="python")
        if isinstance(settings, PictureSettings) and settings.backend != "scenes":
            (tmp,) = (volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"] if volume["name"] == "tmp")
            assert tmp == "1Gi"  # whoever writes more is not refused, but evicted
            assert settings.results_mb is not None
            assert settings.results_mb <= 512


def test_models_are_served_by_gpus() -> None:
    for name in ("subject", "generation", "editing", "description"):
        (container,) = of_kind("overlays/gpu", "Deployment")[name]["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
