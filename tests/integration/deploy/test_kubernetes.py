"""The manifests: against Kubernetes' own schemas, and against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

FOLDER = Path(__file__).parents[3] / "deploy" / "kubernetes"
OLDEST, NEWEST = "1.29", "1.34"
"""The versions that people run."""

Object = dict[str, Any]

KUSTOMIZATION: Object = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
OBJECTS: list[Object] = [
    thing
    for name in KUSTOMIZATION["resources"]
    for thing in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))
]
WORKLOADS = [thing for thing in OBJECTS if thing["kind"] in {"StatefulSet", "Deployment"}]


def name_of(thing: Object) -> str:
    """Return an object as kubectl names it."""
    return f"{thing['kind']}/{thing['metadata']['name']}"


def container_of(workload: Object) -> Object:
    """Return the only container of a workload's pods."""
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(container)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("thing", OBJECTS, ids=name_of)
def test_the_schema_accepts_it(thing: Object, version: str) -> None:
    """A misspelt field is dropped by the server in silence, and with it what it asked for."""
    kubernetes_validate.validate(thing, version, strict=True)


def test_the_schema_refuses_what_is_misspelt() -> None:
    """The check itself: without strictness it would accept everything."""
    (nodes,) = (thing for thing in WORKLOADS if thing["kind"] == "StatefulSet")
    wrong = {**nodes, "spec": {**nodes["spec"], "replicaCount": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_every_file_is_applied() -> None:
    """A manifest that kustomize does not know of looks as if it held."""
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files


@pytest.mark.parametrize("workload", WORKLOADS, ids=name_of)
def test_a_pod_is_asked_whether_it_lives_and_whether_it_is_ready(workload: Object) -> None:
    """Ready is not live: a node that waits for Cassandra must not be killed for it."""
    container = container_of(workload)
    paths = {
        probe: container[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    expected = {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"}
    assert paths == expected


@pytest.mark.parametrize("workload", WORKLOADS, ids=name_of)
def test_a_pod_has_time_to_end(workload: Object) -> None:
    """Killed before its last checkpoints it would repeat work; killed mid-drain, leave shards."""
    pod = workload["spec"]["template"]["spec"]
    words = " ".join(container_of(workload)["lifecycle"]["preStop"]["exec"]["command"]).split()
    before_s = max(int(word) for word in words if word.isdigit())
    assert pod["terminationGracePeriodSeconds"] > before_s + stop_grace_s()


def test_a_node_gives_its_shards_away_before_it_ends() -> None:
    """A planned move takes half a second a shard; a shard that was left takes a lease's time."""
    (nodes,) = (thing for thing in WORKLOADS if thing["kind"] == "StatefulSet")
    command = container_of(nodes)["lifecycle"]["preStop"]["exec"]["command"]
    assert 'dataflowctl cluster drain "$DATAFLOW_NODE_ID"' in command[-1]


@pytest.mark.parametrize("workload", WORKLOADS, ids=name_of)
def test_a_disruption_leaves_enough_of_them(workload: Object) -> None:
    """Emptying two machines at once would take two of three nodes."""
    labels = workload["spec"]["template"]["metadata"]["labels"].items()
    budgets = [
        thing
        for thing in OBJECTS
        if thing["kind"] == "PodDisruptionBudget"
        and thing["spec"]["selector"]["matchLabels"].items() <= labels
    ]
    assert len(budgets) == 1


@pytest.mark.parametrize("workload", WORKLOADS, ids=name_of)
def test_a_pod_runs_with_no_right_that_it_does_not_use(workload: Object) -> None:
    """The namespace asks for it, and would refuse the pods."""
    pod, container = workload["spec"]["template"]["spec"], container_of(workload)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("workload", WORKLOADS, ids=name_of)
def test_selectors_find_the_pods(workload: Object) -> None:
    """Label and selector are written apart, and nothing compares them but this."""
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert workload["spec"]["selector"]["matchLabels"] == labels
    ports = {port["name"] for port in container_of(workload)["ports"]}
    services = [
        thing
        for thing in OBJECTS
        if thing["kind"] == "Service" and thing["spec"]["selector"] == labels
    ]
    assert services
    assert {port["targetPort"] for each in services for port in each["spec"]["ports"]} <= ports
    policies = [
        thing
        for thing in OBJECTS
        if thing["kind"] == "NetworkPolicy"
        and thing["spec"]["podSelector"]["matchLabels"] == labels
    ]
    assert len(policies) == 1


def test_nodes_reach_each_other_before_they_are_ready() -> None:
    """A node becomes ready with the help of the others, which may all be starting."""
    (nodes,) = (thing for thing in WORKLOADS if thing["kind"] == "StatefulSet")
    (service,) = (
        thing
        for thing in OBJECTS
        if thing["kind"] == "Service" and thing["metadata"]["name"] == nodes["spec"]["serviceName"]
    )
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"]


def test_names_lead_somewhere() -> None:
    """A pod that refers to a map that is not there never starts."""
    maps = {thing["metadata"]["name"] for thing in OBJECTS if thing["kind"] == "ConfigMap"}
    accounts = {t["metadata"]["name"] for t in OBJECTS if t["kind"] == "ServiceAccount"}
    for workload in WORKLOADS:
        sources = container_of(workload)["envFrom"]
        assert {each["configMapRef"]["name"] for each in sources if "configMapRef" in each} <= maps
        assert workload["spec"]["template"]["spec"]["serviceAccountName"] in accounts


def test_no_secret_is_checked_in() -> None:
    """Keys come from a Secret that the operator makes."""
    assert [thing for thing in OBJECTS if thing["kind"] == "Secret"] == []


def stop_grace_s() -> float:
    """Return how long a program takes at most after SIGTERM."""
    (settings,) = (thing["data"] for thing in OBJECTS if thing["kind"] == "ConfigMap")
    return float(settings["DATAFLOW_STOP_GRACE_S"])
