"""What an idempotent sink promises: ``IdempotentSinkSuite``."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pyarrow as pa

from dataflow.connect.sink import IdempotentSink
from dataflow.connect.testkit.crashes import Crashes, History, die_everywhere
from dataflow.connect.testkit.places import BATCH, PER_CHECKPOINT, ROWS, SinkPlace, task
from dataflow.connect.transform import ORDINAL

ALL = [*range(ROWS)]
SPLITS = ("a", "b")


def _nothing(_: str) -> None:
    pass


def _numbered(batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
    ordinals = pa.array(range(first, first + batch.num_rows), pa.int64())
    return batch.append_column(ORDINAL, ordinals)


class IdempotentSinkSuite(ABC):
    """For an idempotent sink."""

    second_deaths: int = 3

    @abstractmethod
    def place(self) -> SinkPlace[IdempotentSink]:
        """Return a new, empty place to write to."""

    async def test_rows_are_durable_after_a_flush(self) -> None:
        """The engine decides positions then, and never reads those rows again."""
        place = self.place()
        sink = place.sink(_nothing)
        await sink.open(task(1))
        await sink.write(_numbered(place.rows(0, 5), 0), "a")
        await sink.flush()
        await place.kill(sink)
        assert sorted(place.visible()) == [*range(5)]

    async def test_writing_the_same_rows_again_changes_nothing(self) -> None:
        """After a crash they come in other batches, from another run, maybe another process."""
        place = self.place()
        for run, cut in ((1, 3), (2, 5), (3, 1)):
            sink = place.sink(_nothing)
            await sink.open(task(run))
            for start in range(0, 5, cut):
                batch = place.rows(start, min(start + cut, 5))
                await sink.write(_numbered(batch, start), "a")
                await sink.flush()
            await sink.close()
        assert sorted(place.visible()) == [*range(5)]

    async def test_records_of_splits_lineages_and_pipelines_never_collide(self) -> None:
        """Each counts its records from 0; a replay writes its rows besides those of before."""
        place = self.place()
        writers = [(1, "p", 1, "a"), (1, "p", 1, "b"), (2, "p", 2, "a"), (3, "q", 1, "a")]
        for index, (run, pipeline, lineage, split) in enumerate(writers):
            sink = place.sink(_nothing)
            await sink.open(task(run, pipeline, lineage))
            batch = place.rows(index * 5, index * 5 + 5)
            await sink.write(_numbered(batch, 0), split)
            await sink.flush()
            await sink.close()
        assert sorted(place.visible()) == [*range(20)]

    async def test_dying_at_any_point_twice_leaves_every_row_visible_once(self) -> None:
        """The engine's order with a death after every call and at every probe."""
        await die_everywhere(lambda: _IdempotentHistory(self.place()), stride=self.second_deaths)


class _IdempotentHistory(History):
    """An engine with one register, around one place."""

    def __init__(self, place: SinkPlace[IdempotentSink]) -> None:
        self._place = place
        self._run = 0
        self._rows = 0

    async def live(self, crashes: Crashes) -> None:
        self._run += 1
        sink = self._place.sink(crashes)
        try:
            await self._work(sink, crashes)
        except BaseException:
            await self._place.kill(sink)
            raise
        await sink.close()

    async def _work(self, sink: IdempotentSink, crashes: Crashes) -> None:
        await sink.open(task(self._run))
        crashes("opened")
        at = self._rows
        while at < ROWS:
            due = min(at + PER_CHECKPOINT * BATCH, ROWS)
            for start in range(at, due, BATCH):
                split = SPLITS[start // BATCH % len(SPLITS)]
                batch = self._place.rows(start, min(start + BATCH, due))
                await sink.write(_numbered(batch, start), split)
                crashes("written")
            await sink.flush()
            crashes("flushed")
            self._rows = at = due
            crashes("decided")

    def check(self, *, ended: bool) -> None:
        visible = sorted(self._place.visible())
        assert len(set(visible)) == len(visible)
        assert set(ALL[: self._rows]) <= set(visible)
        if ended:
            assert visible == ALL
