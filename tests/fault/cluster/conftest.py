"""One cluster for all tests here: starting it takes longer than breaking it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.cluster.background import Background, background
from tests.fault.cluster.rounds import Rounds
from tests.fault.cluster.stage import staged

START_S = 300.0


@pytest.fixture(scope="module")
def loop() -> Iterator[Background]:
    """Where the networks and the clients of a module's cluster live."""
    with background() as running:
        yield running


@pytest.fixture(scope="module")
def rounds(loop: Background, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    """Start three nodes, a gateway, three members of etcd and Cassandra."""
    folder: Path = tmp_path_factory.mktemp("cluster")
    with loop.entered(staged(folder / "servers"), START_S) as stage:
        yield Rounds(stage, folder)
