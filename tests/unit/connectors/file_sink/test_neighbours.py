"""A writer that comes while another one is still there, or has left something behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dataflow.connect import Unavailable
from dataflow.connectors.file import sink as file_sink
from tests.unit.connectors.file_sink.rig import ROWS, Clock, Rig, batch_of, kill

ALL = [*range(ROWS)]


@dataclass
class Patient(Clock):
    """A clock whose ``looks``-th look lets something happen."""

    looks: int
    then: Callable[[], None]
    seconds: float = 0.0

    def steady(self) -> float:
        self.looks -= 1
        if not self.looks:
            self.then()
        return super().steady()


async def test_a_writer_waits_until_the_former_one_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker outlives its owner for a moment; no run may fail of that."""
    monkeypatch.setattr(file_sink, "LOCK_POLL_S", 0.001)
    rig = Rig(tmp_path / "out.csv")
    former = rig.sink()
    await former.open(rig.task(1), None)
    successor = replace(rig, clock=Patient(4, lambda: kill(former))).sink()
    await successor.open(rig.task(2), None)
    await successor.commit(await successor.prepare(0, final=False))
    await successor.write(batch_of(0, 5))
    await successor.prepare(1, final=True)
    await successor.close()
    assert rig.visible() == [0, 1, 2, 3, 4]


async def test_a_writer_that_never_lets_go_is_not_waited_for_any_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine backs off and says so; a wait without an end says nothing."""
    monkeypatch.setattr(file_sink, "LOCK_POLL_S", 0.001)
    rig = Rig(tmp_path / "out.csv")
    former, successor = rig.sink(), rig.sink()
    await former.open(rig.task(1), None)
    began = rig.clock.seconds
    with pytest.raises(Unavailable, match="another writer holds"):
        await successor.open(rig.task(2), None)
    assert rig.clock.seconds - began == file_sink.LOCK_WAIT_S + 1
    await former.close()
    await successor.close()


@pytest.mark.parametrize("file_format", ["csv", "parquet"])
async def test_a_number_that_another_pipeline_stages_is_not_used_again(
    file_format: str, tmp_path: Path
) -> None:
    """Its part has its name already, and could not be shown under it any more."""
    first = Rig(tmp_path / "out", {"format": file_format, "ifExists": "append"})
    await first.live(final=False, checkpoints=1)
    assert first.visible() == []
    second = replace(first, pipeline="q", decided="", decided_rows=0, points=[])
    await second.live()
    await first.live()
    assert sorted(first.visible()) == sorted(ALL + ALL)
