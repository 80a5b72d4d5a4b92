"""``file_roots``: the folders to which an operator keeps files, for those who may write specs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.programs import Api, Server, serving
from tests.e2e.specs import generated, line, sink, source, written

CONSOLE = {"sinkType": "console"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the program with two folders allowed, beside one that is not."""
    folder = tmp_path_factory.mktemp("roots")
    for name in ("in", "out", "outside"):
        (folder / name).mkdir()
    (folder / "in" / "a.csv").write_text("a\n1\n")
    (folder / "outside" / "a.csv").write_text("a\n2\n")
    (folder / "in" / "link.csv").symlink_to(folder / "outside" / "a.csv")
    (folder / "out" / "link").symlink_to(folder / "outside")
    roots = f"{folder / 'in'}:{folder / 'out'}"
    with serving(folder, {"DATAFLOW_FILE_ROOTS": roots}) as running:
        yield running


def test_inside_is_read_and_written(http: Api, server: Server) -> None:
    """In one folder and into the other."""
    folder = server.folder
    http.run(line(source(folder / "in" / "a.csv"), sink(folder / "out" / "b.csv")))
    assert written(folder / "out" / "b.csv") == [["1"]]


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("outside/a.csv", ""),
        ("in/../outside/a.csv", ""),
        ("in/link.csv", ""),
        ("in/l*.csv", ""),
        ("out/link/*.csv", ""),
        ("", "outside/new.csv"),
        ("", "out/../outside/new.csv"),
        ("", "out/link/new.csv"),
        ("", "outside-of-all.csv"),
    ],
)
def test_outside_is_refused(http: Api, server: Server, begin: str, end: str) -> None:
    """By a path, by a way up and by a link; nothing of it is shown, and nothing is made there."""
    reading: Any = source(server.folder / begin) if begin else generated(1)
    writing: Any = sink(server.folder / end) if end else CONSOLE
    error = http.failed(line(reading, writing))
    assert error["code"] == "PERMISSION"
    assert error["message"].startswith("connectionString: ")
    assert "is outside the folders that this node allows (file_roots)" in error["message"]
    assert [path.name for path in (server.folder / "outside").iterdir()] == ["a.csv"]
    assert server.out.count('{"a":2}') == 0


def test_a_preview_of_the_outside_is_refused(http: Api, server: Server) -> None:
    """It would show the rows to whoever asks."""
    spec = line(source(server.folder / "outside" / "a.csv"), CONSOLE)
    told = http.post("/pipelines:preview", spec, 403)
    assert told["error"] == "PERMISSION"
    assert [problem["field"] for problem in told["details"]] == ["source.connectionString"]
