"""What a transactional sink promises: ``TransactionalSinkSuite``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace

from dataflow.connect.sink import TransactionalSink
from dataflow.connect.testkit.crashes import Crashes, History, die_everywhere
from dataflow.connect.testkit.places import BATCH, PER_CHECKPOINT, ROWS, SinkPlace, task
from dataflow.core.checkpoint import Checkpoint, SplitPosition, Stamp
from dataflow.core.errors import Fenced, Unavailable
from dataflow.core.ids import Lineage, Run

ALL = [*range(ROWS)]


def _nothing(_: str) -> None:
    pass


def _seed(lineage: int = 1) -> Checkpoint:
    return Checkpoint(lineage=Lineage(lineage), pinned={"source": '{"types":{"id":"int64"}}'})


def _decision(run: int, number: int, rows: int, lineage: int = 1) -> Checkpoint:
    position = SplitPosition(position=f'{{"row":{rows}}}', records=rows)
    return replace(
        _seed(lineage),
        stamp=Stamp(Run(run), number),
        seeded=True,
        positions={"split": position},
    )


async def _refused(sink: TransactionalSink, place: SinkPlace[TransactionalSink], run: int) -> bool:
    """Tell whether a zombie is fenced, at whichever call."""
    try:
        await sink.write(place.rows(100, 103))
        await sink.commit(_decision(run, 9, 103))
    except Fenced:
        return True
    return False


class TransactionalSinkSuite(ABC):
    """For a transactional sink."""

    second_deaths: int = 3

    @abstractmethod
    def place(self) -> SinkPlace[TransactionalSink]:
        """Return a new, empty place to write to."""

    async def committed(
        self, place: SinkPlace[TransactionalSink]
    ) -> tuple[TransactionalSink, Checkpoint]:
        """Return a sink that has committed five rows, and the decision."""
        sink = place.sink(_nothing)
        await sink.recover(task(1), _seed())
        await sink.write(place.rows(0, 5))
        decision = _decision(1, 1, 5)
        await sink.commit(decision)
        return sink, decision

    async def test_an_empty_place_is_given_the_seed_and_returns_it(self) -> None:
        """From then on the place itself knows where its lineage began.

        What was pinned and never decided binds nobody: the run that pinned it is gone.
        """
        place = self.place()
        sink = place.sink(_nothing)
        assert await sink.recover(task(1), _seed()) == _seed()
        await place.kill(sink)
        sink = place.sink(_nothing)
        another = replace(_seed(), pinned={"source": "{}"})
        assert await sink.recover(task(2), another) == another
        await sink.close()
        assert list(place.visible()) == []

    async def test_the_last_decision_comes_back_whole(self) -> None:
        """The register may not have heard of it; positions that are lost repeat rows."""
        place = self.place()
        sink, decision = await self.committed(place)
        await sink.close()
        sink = place.sink(_nothing)
        assert await sink.recover(task(2), _seed()) == decision
        await sink.close()

    async def test_a_new_lineage_begins_at_its_seed_and_keeps_the_rows(self) -> None:
        """Positions of another lineage mean nothing, however new they are."""
        place = self.place()
        sink, _ = await self.committed(place)
        await sink.close()
        sink = place.sink(_nothing)
        assert await sink.recover(task(2, lineage=2), _seed(2)) == _seed(2)
        await sink.write(place.rows(5, 8))
        await sink.commit(_decision(2, 1, 8, lineage=2))
        await sink.close()
        assert sorted(place.visible()) == [*range(8)]

    async def test_a_lineage_that_goes_on_does_so_from_what_the_place_holds(self) -> None:
        """The register, and the seed with it, may be a decision behind: those rows would repeat."""
        place = self.place()
        sink, decision = await self.committed(place)
        await sink.close()
        behind = replace(_seed(2), continues=Lineage(1))
        beyond = replace(behind, stamp=Stamp(Run(0), 1), positions=decision.positions)
        sink = place.sink(_nothing)
        assert await sink.recover(task(2, lineage=2), behind) == beyond
        await sink.write(place.rows(5, 8))
        await sink.commit(_decision(2, 2, 8, lineage=2))
        await place.kill(sink)
        sink = place.sink(_nothing)
        again = replace(behind, stamp=Stamp(Run(2), 1))  # the next one's, of a seed BEFORE it
        held = await sink.recover(task(3, lineage=3), replace(again, lineage=Lineage(3)))
        assert held is not None
        assert held.positions == _decision(2, 2, 8, lineage=2).positions
        await sink.close()
        assert sorted(place.visible()) == [*range(8)]

    async def test_rows_and_decision_become_visible_together(self) -> None:
        """Rows without their decision would come twice, a decision without its rows never."""
        place = self.place()
        sink, decision = await self.committed(place)
        await sink.write(place.rows(5, 8))
        assert sorted(place.visible()) == [*range(5)]
        await place.kill(sink)
        sink = place.sink(_nothing)
        assert await sink.recover(task(2), _seed()) == decision
        await sink.write(place.rows(5, 9))
        await sink.commit(_decision(2, 1, 9))
        await sink.close()
        assert sorted(place.visible()) == [*range(9)]

    async def test_close_rolls_back_what_is_not_committed(self) -> None:
        """A run that ends with an error has decided nothing more."""
        place = self.place()
        sink, _ = await self.committed(place)
        await sink.write(place.rows(5, 8))
        await sink.close()
        assert sorted(place.visible()) == [*range(5)]

    async def test_an_older_run_is_fenced_once_a_newer_one_has_claimed(self) -> None:
        """A process that was taken for dead wakes up, before and after the newer one decides."""
        place = self.place()
        zombie, decision = await self.committed(place)
        newer = place.sink(_nothing)
        assert await newer.recover(task(2), _seed()) == decision
        assert await _refused(zombie, place, 1)
        await zombie.close()
        await newer.write(place.rows(5, 8))
        await newer.commit(_decision(2, 1, 8))
        late = place.sink(_nothing)
        try:
            await late.recover(task(1), _seed())
        except Fenced:
            fenced = True
        else:
            fenced = await _refused(late, place, 1)
        assert fenced
        await late.close()
        await newer.close()
        assert sorted(place.visible()) == [*range(8)]

    async def test_after_an_unknown_outcome_the_next_run_finds_out(self) -> None:
        """The answer to a commit was lost: the place alone knows whether it happened."""
        place = self.place()
        sink, decision = await self.committed(place)
        with suppress(Unavailable):
            await sink.commit(decision)  # as a driver that retries a lost answer would
        await place.kill(sink)
        sink = place.sink(_nothing)
        assert await sink.recover(task(2), _seed()) == decision
        await sink.close()
        assert sorted(place.visible()) == [*range(5)]

    async def test_pipelines_in_one_place_keep_their_decisions_apart(self) -> None:
        """Two pipelines may write to one table."""
        place = self.place()
        sink, decision = await self.committed(place)
        other = place.sink(_nothing)
        assert await other.recover(task(7, pipeline="q"), _seed()) == _seed()
        await other.write(place.rows(5, 8))
        await other.commit(_decision(7, 1, 3))
        await other.close()
        await sink.close()
        sink = place.sink(_nothing)
        assert await sink.recover(task(2), _seed()) == decision
        await sink.close()
        assert sorted(place.visible()) == [*range(8)]

    async def test_dying_at_any_point_twice_leaves_every_row_visible_once(self) -> None:
        """The engine's order with a death after every call and at every probe."""
        await die_everywhere(lambda: _TransactionalHistory(self.place()), stride=self.second_deaths)


class _TransactionalHistory(History):
    """An engine that asks the place where it got to."""

    def __init__(self, place: SinkPlace[TransactionalSink]) -> None:
        self._place = place
        self._run = 0

    async def live(self, crashes: Crashes) -> None:
        self._run += 1
        sink = self._place.sink(crashes)
        try:
            await self._work(sink, crashes)
        except BaseException:
            await self._place.kill(sink)
            raise
        await sink.close()

    async def _work(self, sink: TransactionalSink, crashes: Crashes) -> None:
        held = await sink.recover(task(self._run), _seed())
        crashes("recovered")
        assert held is not None
        at = held.positions["split"].records if held.positions else 0
        number = 0
        while at < ROWS:
            number += 1
            due = min(at + PER_CHECKPOINT * BATCH, ROWS)
            for start in range(at, due, BATCH):
                await sink.write(self._place.rows(start, min(start + BATCH, due)))
                crashes("written")
            await sink.commit(_decision(self._run, number, due))
            crashes("committed")
            at = due

    def check(self, *, ended: bool) -> None:
        visible = sorted(self._place.visible())
        assert visible == ALL[: len(visible)]
        if ended:
            assert visible == ALL
            assert list(self._place.litter()) == []
