"""compose.yaml: what Docker would make of it, held to what deploy/stack starts without Docker."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.stack import cassandra, etcd, kafka, postgres, s3
from deploy.stack.artifacts import go_program
from deploy.stack.machine import RECIPES

COMPOSE = Path(__file__).parents[3] / "deploy" / "compose.yaml"

SERVERS = {"etcd", "cassandra", "kafka", "postgres", "redis", "elasticsearch", "s3", "registry"}
"""One a role of the storage that a cluster has."""
CLUSTER = {"node-1", "node-2", "node-3", "gateway"}
SHOWING = {"kafka-ui", "kibana", "logstash", "prometheus", "grafana"}

Loaded = dict[str, Any]


def load(file: Path) -> subprocess.CompletedProcess[str]:
    """Load a file with the library that docker compose loads it with."""
    return subprocess.run(
        [go_program("compose", "."), file], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def services() -> Loaded:
    """Return the services, in the one form that compose brings all files to."""
    loaded = load(COMPOSE)
    assert loaded.stderr == ""
    project: Loaded = json.loads(loaded.stdout)
    found: Loaded = project["services"]
    return found


def test_every_server_is_there(services: Loaded) -> None:
    """People with Docker get all that the cluster can use, and what shows it."""
    assert set(services) == SERVERS | CLUSTER | SHOWING


def test_what_only_shows_is_under_a_profile(services: Loaded) -> None:
    """Kibana and Logstash take more memory than the cluster; who wants them says so."""
    assert {name for name, service in services.items() if service.get("profiles")} == SHOWING


def test_a_misspelt_file_is_refused(tmp_path: Path) -> None:
    """The check itself: what it lets pass would be found by whoever starts it first."""
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text(encoding="utf-8").replace("healthcheck:", "healthchek:", 1))
    assert "healthchek" in load(wrong).stderr


@pytest.mark.parametrize("name", RECIPES)
def test_the_versions_are_those_of_the_stack(services: Loaded, name: str) -> None:
    """What was tested is what runs."""
    assert services[name]["image"].rpartition(":")[2].removeprefix("v") == RECIPES[name].version


@pytest.mark.parametrize("name", RECIPES)
def test_the_ports_are_those_of_the_stack(services: Loaded, name: str) -> None:
    """Whoever changes from one to the other changes no setting."""
    assert {port["published"] for port in services[name]["ports"]} == {f"{RECIPES[name].port}"}


def test_no_port_is_open_to_others(services: Loaded) -> None:
    """No server here asks for a password, so no other machine may reach one."""
    ports = [port for service in services.values() for port in service.get("ports") or ()]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_no_two_services_have_one_port(services: Loaded) -> None:
    """The second would not start, and only with the profiles that nobody tries together."""
    ports = [
        (port["published"], port["protocol"])
        for service in services.values()
        for port in service.get("ports") or ()
    ]
    assert len(set(ports)) == len(ports)


def test_etcd_has_the_settings_of_the_stack(services: Loaded) -> None:
    """History and size are limited alike."""
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in services["etcd"]["command"][1:])
    assert flags.items() >= etcd.SETTINGS.items()


def test_cassandra_has_the_settings_of_the_stack() -> None:
    """Without batch sync and Paxos v2 acknowledged appends are lost."""
    content = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["configs"]["cassandra"]["content"]
    assert yaml.safe_load(content).items() >= cassandra.SETTINGS.items()


def test_kafka_has_the_settings_of_the_stack(services: Loaded) -> None:
    """Abandoned transactions end as soon, and no topic comes into being by a misspelt name."""
    settings = kafka.SETTINGS | kafka.replication(1)
    variables = {f"KAFKA_{name.upper().replace('.', '_')}": settings[name] for name in settings}
    assert services["kafka"]["environment"].items() >= variables.items()


def test_postgres_has_the_settings_of_the_stack(services: Loaded) -> None:
    """Changes can be read from the log, and texts sort alike."""
    service = services["postgres"]
    given = dict(flag.removeprefix("-c").split("=", 1) for flag in service["command"][1:])
    assert given == postgres.SETTINGS
    assert service["environment"]["POSTGRES_INITDB_ARGS"].split() == list(postgres.INITDB)


def test_the_object_store_has_the_keys_of_the_stack(services: Loaded) -> None:
    """Scripts that worked with one work with the other, and the nodes are told them."""
    keys = {"ROOT_ACCESS_KEY": s3.ACCESS_KEY, "ROOT_SECRET_KEY": s3.SECRET_KEY}
    assert services["s3"]["environment"].items() >= keys.items()
    told = s3.variables("s3:7070").items()
    assert all(services[name]["environment"].items() >= told for name in CLUSTER)
    assert f"/data/{s3.BUCKET}" in services["s3"]["command"][0]


@pytest.mark.parametrize("name", sorted(SERVERS | CLUSTER))
def test_every_server_is_waited_for(services: Loaded, name: str) -> None:
    """Up --wait returns when the cluster answers, and nodes start when their stores do."""
    assert services[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", sorted(CLUSTER))
def test_a_program_cannot_change_its_code(services: Loaded, name: str) -> None:
    """It writes its data and temporary files, and has no right that it does not use."""
    service = services[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


@pytest.mark.parametrize("name", sorted(CLUSTER))
def test_a_program_has_time_for_its_last_checkpoints(services: Loaded, name: str) -> None:
    """Docker kills after ten seconds unless told otherwise."""
    service = services[name]
    grace_s = float(service["environment"]["DATAFLOW_STOP_GRACE_S"])
    assert service["stop_grace_period"] == "1m0s"
    assert grace_s < 60
