"""One server for all tests of a module, over a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.programs import Api, Server, api, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the program while the tests of a module need it."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[Api]:
    """Speak HTTP to the module's server."""
    with api(server) as speaking:
        yield speaking


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a test keeps its input and output."""
    return tmp_path
