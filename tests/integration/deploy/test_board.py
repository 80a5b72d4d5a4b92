"""The Grafana board asks for metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"
BOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
METRIC = re.compile(r"\b(?:dataflow|process)_\w+")


def asked_for() -> set[str]:
    """Return every metric of ours that a board names."""
    panels = [panel for board in BOARDS for panel in json.loads(board.read_text())["panels"]]
    return {
        name
        for panel in panels
        for target in panel["targets"]
        for name in METRIC.findall(target["expr"])
    }


@pytest.fixture(scope="module")
def shown(programs: dict[str, str]) -> set[str]:
    """Return every metric that a node or the gateway shows."""
    texts = [
        httpx.get(f"http://{programs[name]}/metrics", timeout=30).text
        for name in ("node-1", "gateway")
    ]
    families = [
        family
        for text in texts
        for family in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
    ]
    return {
        f"{name}{suffix}"
        for name, kind in families
        for suffix in (("_bucket", "_count", "_sum") if kind == "histogram" else ("",))
    }


def test_every_metric_of_a_board_is_shown_by_a_program(shown: set[str]) -> None:
    """A renamed metric leaves an empty panel, which looks like a quiet system."""
    assert asked_for() - shown == set()


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_a_board_asks_the_data_source_that_is_provisioned(board: Path) -> None:
    """Another name shows a board of errors."""
    file = DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml"
    (source,) = yaml.safe_load(file.read_text())["datasources"]
    panels = json.loads(board.read_text())["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}


def test_prometheus_asks_every_program_of_the_compose_file() -> None:
    """A node that is not asked looks like one that is not there."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"]
    (programs,) = (job for job in jobs if job["job_name"] == "dataflow")
    (targets,) = (config["targets"] for config in programs["static_configs"])
    expected = {
        name for name, each in compose.items() if str(each["image"]).startswith("dataflow:")
    }
    assert {target.partition(":")[0] for target in targets} == expected
