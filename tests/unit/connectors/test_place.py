"""A pipeline that writes into its own input is found before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.connect import SinkStep, SourceStep
from dataflow.connectors.file.place import covers
from dataflow.connectors.file.sink_spec import SPEC


@pytest.mark.parametrize(
    ("source", "sink", "found"),
    [
        ("{}/in.csv", "{}/in.csv", True),
        ("file://{}/in.csv", "{}/in.csv", True),
        ("{}/link.csv", "{}/in.csv", True),
        ("{}/in.csv", "{}/link.csv", True),
        ("{}", "{}/out.csv", True),
        ("{}", "{}", True),
        ("{}/*.csv", "{}/out.csv", True),
        ("{}/*/part-*.csv", "{}/out", True),
        ("{}/in.csv", "{}/out.csv", False),
        ("{}", "{}/out", False),
        ("{}", "{}/later/", False),
        ("{}", "{}/_out.csv", False),
        ("{}/*.csv", "{}/out.parquet", False),
        ("{}/*.csv", "{}/deeper/out", False),
        ("{}/**/*.gz", "{}/deeper/out", True),
        ("${{env:IN}}", "{}/out.csv", False),
        ("{}", "${{env:OUT}}", False),
        ("", "{}/out.csv", False),
    ],
)
def test_a_sink_that_its_source_would_read_is_known(
    source: str,
    sink: str,
    found: bool,  # noqa: FBT001 - pytest names it
    tmp_path: Path,
) -> None:
    """Replaced, the input is gone; appended to, it is read for ever."""
    (tmp_path / "in.csv").write_text("a\n1\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "in.csv")
    (tmp_path / "out").mkdir()
    place = SPEC.place(SinkStep("file", sink.format(tmp_path)))
    assert (bool(place) and covers(SourceStep("file", source.format(tmp_path)), place)) is found
