"""What compose.yaml and the manifests tell the programs, told to the programs."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from dataflow.app.settings import PREFIX, Settings

DEPLOY = Path(__file__).parents[3] / "deploy"
VARIABLE = re.compile(rf"\b{PREFIX}(\w+)\b")


@pytest.mark.parametrize(
    "file",
    ["Dockerfile", "compose.yaml", "kubernetes/settings.yaml", "kubernetes/nodes.yaml"],
)
def test_every_variable_is_a_setting(file: str) -> None:
    """A program takes no notice of a misspelt variable, as it may be another program's."""
    named = {name.lower() for name in VARIABLE.findall((DEPLOY / file).read_text())}
    assert named
    assert named - set(Settings.model_fields) == set()


def test_the_programs_of_the_compose_file_are_a_cluster(programs: dict[str, str]) -> None:
    """Whatever is asked, the gateway too, knows the three nodes by the names they were given."""
    answers = [
        httpx.get(f"http://{address}/api/v1/cluster/nodes", timeout=30).json()["nodes"]
        for address in programs.values()
    ]
    ids = [sorted(node["nodeId"] for node in nodes) for nodes in answers]
    assert ids == [["node-1", "node-2", "node-3"]] * 4
