"""The image: what it is built from, and whom it runs as."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
IGNORE = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
STEPS = [
    step.split(maxsplit=1)
    for step in re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE)).splitlines()
    if step.strip()
]
"""Instruction and argument."""

PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)==(\S+)", re.MULTILINE)


def steps(instruction: str) -> list[str]:
    """Return the arguments of all instructions of a kind."""
    return [argument for name, argument in STEPS if name == instruction]


COPIED = sorted(
    {
        source
        for copy in steps("COPY")
        if not copy.startswith("--from")
        for source in copy.split()[:-1]
    }
)


@pytest.mark.parametrize("source", COPIED)
def test_what_it_is_built_from_is_there_and_sent(source: str) -> None:
    """The builder gets nothing but what the ignore file lets through."""
    assert (ROOT / source).exists()
    assert f"!{source}" in IGNORE


def test_it_does_not_run_as_root() -> None:
    """A connector that is tricked into writing somewhere finds nothing that it may change."""
    assert steps("USER") == ["10001:10001"]


def test_its_code_belongs_to_root() -> None:
    """A program that cannot change its code starts the same each time."""
    (copy,) = (copy for copy in steps("COPY") if copy.startswith("--from"))
    assert "--chown" not in copy


def test_it_installs_the_versions_that_were_tested() -> None:
    """The image has fewer packages than a checkout, and of those the same."""
    tested = dict(PINNED.findall((ROOT / "requirements.lock").read_text(encoding="utf-8")))
    installed = dict(
        PINNED.findall((ROOT / "deploy" / "requirements.lock").read_text(encoding="utf-8"))
    )
    assert installed.items() <= tested.items()
    assert "pytest" not in installed


def test_its_lock_holds_everything_the_programs_ask_for() -> None:
    """A dependency that only the developers' lock has would be missing in the image alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (ROOT / "deploy" / "requirements.lock").read_text(encoding="utf-8")
    locked = {name.lower() for name, _ in PINNED.findall(lock)}
    asked = {re.split(r"[\[<>=!~;\s]", each, maxsplit=1)[0] for each in project["dependencies"]}
    assert asked <= locked


@pytest.mark.parametrize(
    "file", ["compose.yaml", "kubernetes/nodes.yaml", "kubernetes/gateway.yaml"]
)
def test_what_runs_it_names_its_version(file: str) -> None:
    """An old name would start an old image, or none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "deploy" / file).read_text(encoding="utf-8")
    assert set(re.findall(r"image: dataflow:(\S+)", text)) == {project["version"]}
