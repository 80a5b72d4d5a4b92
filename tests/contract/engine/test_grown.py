"""A split that has been read to its end, and that holds more when a run begins."""

from __future__ import annotations

from pathlib import Path

from dataflow.connectors.file.source_spec import SPEC as FILE
from dataflow.core.spec import Source as SourceOf
from tests.contract.connect.places import ids_of_files
from tests.contract.engine.owner import Owner, Points
from tests.contract.engine.test_sinks import KINDS, pipeline, registry, survives


async def test_a_split_that_has_grown_is_half_read_until_its_new_end(tmp_path: Path) -> None:
    """A run that breaks in what was added leaves the rest of it to the next, at any point."""
    at = 0
    while True:
        root = tmp_path / str(at)
        root.mkdir()
        path = root / "in.csv"
        path.write_text("id\n0\n1\n")
        begin = SourceOf("file", str(path), batch_size=1, poll_interval_ms=1)
        spec = pipeline(KINDS["staging"], begin, root / "out")
        owner = Owner(registry(FILE), spec, root / "objects")
        await owner.live(Points())
        with path.open("a") as file:
            file.writelines(f"{n}\n" for n in range(2, 14))
        if await survives(owner, Points(at)):
            break
        await owner.live(Points())
        assert ids_of_files(root / "out") == [*range(14)]
        at += 1
    assert at > 20
