"""Rows of one file are all written alike, whatever its options say by then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataflow.connect import Rejected, Unavailable
from tests.unit.connectors.file_sink.rig import ROWS, Rig


async def test_a_csv_file_does_not_change_its_delimiter_in_the_middle(tmp_path: Path) -> None:
    """No reader could tell the halves apart."""
    rig = Rig(tmp_path / "out.csv")
    await rig.live(final=False, checkpoints=1)
    with pytest.raises(Rejected, match="values were written with delimiter ','") as refused:
        await replace(rig, options={"delimiter": ";"}).live()
    assert refused.value.code == "SINK_CHANGED"
    await rig.live()
    assert rig.visible() == list(range(ROWS))


async def test_a_directory_begins_another_part_with_another_delimiter(tmp_path: Path) -> None:
    """A part is read by itself."""
    rig = Rig(tmp_path / "out", {"format": "csv"})
    await rig.live(final=False, checkpoints=1)
    other = replace(rig, options={"format": "csv", "delimiter": ";"})
    await other.live()
    first, second = sorted((tmp_path / "out").glob("part-*"))
    assert first.read_text().startswith("id,name")
    assert second.read_text().startswith("id;name")


async def test_who_holds_an_output_is_named(tmp_path: Path) -> None:
    """Its owner has to choose which of the two pipelines stops."""
    first, second = Rig(tmp_path / "out.csv"), Rig(tmp_path / "out.csv", pipeline="q")
    holding, waiting = first.sink(), second.sink()
    await holding.open(first.task(), None)
    with pytest.raises(Unavailable, match="pipeline 'p'; stop that one"):
        await waiting.open(second.task(), None)
    await waiting.close()
    await holding.close()


@pytest.mark.parametrize("before", ["json", "parquet"])
async def test_a_file_does_not_change_its_format_in_the_middle(tmp_path: Path, before: str) -> None:
    """A name that tells nothing of the format allows any, but one at a time."""
    rig = Rig(tmp_path / "out.txt", {"format": before})
    await rig.live(checkpoints=1, final=before == "json")
    with pytest.raises(Rejected, match=f"the rows so far are {before}") as refused:
        await replace(rig, options={"format": "csv"}).live()
    assert refused.value.code == "SINK_CHANGED"
