"""What the honest fourth promises: ``AtLeastOnceSinkSuite``."""

from __future__ import annotations

from abc import ABC, abstractmethod

from dataflow.connect.sink import AtLeastOnceSink
from dataflow.connect.testkit.crashes import Crashes, History, die_everywhere
from dataflow.connect.testkit.places import BATCH, PER_CHECKPOINT, ROWS, SinkPlace, task


def _nothing(_: str) -> None:
    pass


class AtLeastOnceSinkSuite(ABC):
    """For a sink that may write rows again after a crash."""

    second_deaths: int = 3

    @abstractmethod
    def place(self) -> SinkPlace[AtLeastOnceSink]:
        """Return a new, empty place to write to."""

    async def test_rows_are_delivered_after_a_flush(self) -> None:
        """The engine decides positions then, and never reads those rows again."""
        place = self.place()
        sink = place.sink(_nothing)
        await sink.open(task(1))
        await sink.write(place.rows(0, 5))
        await sink.flush()
        await place.kill(sink)
        assert sorted(place.visible()) == [*range(5)]

    async def test_without_a_crash_no_row_comes_twice(self) -> None:
        """At least once is what a crash makes of it, and nothing else."""
        place = self.place()
        history = _Repeating(place)
        await history.live(Crashes())
        assert sorted(place.visible()) == [*range(ROWS)]

    async def test_dying_at_any_point_twice_loses_no_row(self) -> None:
        """The engine's order with a death after every call and at every probe."""
        await die_everywhere(lambda: _Repeating(self.place()), stride=self.second_deaths)


class _Repeating(History):
    """An engine with one register, around one place."""

    def __init__(self, place: SinkPlace[AtLeastOnceSink]) -> None:
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

    async def _work(self, sink: AtLeastOnceSink, crashes: Crashes) -> None:
        await sink.open(task(self._run))
        crashes("opened")
        while self._rows < ROWS:
            due = min(self._rows + PER_CHECKPOINT * BATCH, ROWS)
            for start in range(self._rows, due, BATCH):
                await sink.write(self._place.rows(start, min(start + BATCH, due)))
                crashes("written")
            await sink.flush()
            crashes("flushed")
            self._rows = due
            crashes("decided")

    def check(self, *, ended: bool) -> None:
        visible = set(self._place.visible())
        assert visible >= {*range(self._rows)}
        if ended:
            assert visible == {*range(ROWS)}
