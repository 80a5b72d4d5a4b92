"""What a staging sink promises: ``StagingSinkSuite``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar, Generic

from dataflow.connect.sink import CommittableT, StagingSink
from dataflow.connect.testkit.crashes import Crashes, History, die_everywhere
from dataflow.connect.testkit.places import BATCH, PER_CHECKPOINT, ROWS, SinkPlace, task
from dataflow.core.errors import Corrupted, Rejected, Unavailable

ALL = [*range(ROWS)]


def _nothing(_: str) -> None:
    pass


class InPlaceSinkSuite(ABC, Generic[CommittableT]):
    """For a staging sink whose readers may see rows that are not decided yet.

    Rows are looked for after a final checkpoint: a sink may keep a file back for more rows.

    Attributes:
        committable: the model of what it prepares.
        second_deaths: every how-manieth point of a recovery to die at; 1 is all of them.
    """

    committable: type[CommittableT]
    second_deaths: int = 3
    hides_undecided: ClassVar[bool] = False

    @abstractmethod
    def place(self) -> SinkPlace[StagingSink[CommittableT]]:
        """Return a new, empty place to write to."""

    def journalled(self, staged: CommittableT) -> CommittableT:
        """Return a committable as recovery gets it: from its JSON."""
        return self.committable.model_validate_json(staged.model_dump_json())

    async def seeded(
        self, place: SinkPlace[StagingSink[CommittableT]], run: int = 1
    ) -> tuple[StagingSink[CommittableT], CommittableT]:
        """Return a sink that has begun a lineage, and its seed, decided and committed."""
        sink = place.sink(_nothing)
        await sink.open(task(run), None)
        await sink.discard(task(run), None)
        seed = self.journalled(await sink.prepare(1, final=False))
        await sink.commit(seed)
        return sink, seed

    async def test_a_committable_survives_the_journal(self) -> None:
        """Recovery has nothing but its JSON, perhaps read by a newer release."""
        place = self.place()
        sink, _ = await self.seeded(place)
        await sink.write(place.rows(0, 5))
        staged = await sink.prepare(2, final=True)
        assert self.journalled(staged) == staged
        await sink.commit(self.journalled(staged))
        await sink.close()
        assert sorted(place.visible()) == [*range(5)]

    async def test_the_seed_touches_nothing(self) -> None:
        """Until a lineage is decided, whatever was there before is somebody's."""
        place = self.place()
        sink, _ = await self.seeded(place)
        await sink.write(place.rows(0, 5))
        await sink.commit(self.journalled(await sink.prepare(2, final=True)))
        await sink.close()
        other = place.sink(_nothing)
        with suppress(Rejected):  # it may refuse to write where there is something already
            await other.open(task(9, lineage=9), None)
            await other.discard(task(9, lineage=9), None)
            await other.prepare(1, final=False)
        await place.kill(other)
        assert sorted(place.visible()) == [*range(5)]

    async def test_committing_again_changes_nothing(self) -> None:
        """A crash behind the decision repeats the commit, from an instance that saw no row."""
        place = self.place()
        sink, _ = await self.seeded(place)
        await sink.write(place.rows(0, 5))
        staged = self.journalled(await sink.prepare(2, final=True))
        await sink.commit(staged)
        await sink.commit(staged)
        await place.kill(sink)
        for run in (2, 3):
            sink = place.sink(_nothing)
            await sink.commit(staged)
            await sink.open(task(run), staged)
            await sink.discard(task(run), staged)
            await sink.commit(staged)
            await place.kill(sink)
        assert sorted(place.visible()) == [*range(5)]

    async def test_a_decided_checkpoint_is_committed_by_an_instance_that_never_saw_it(self) -> None:
        """The process that prepared it may have died before it could commit."""
        place = self.place()
        sink, _ = await self.seeded(place)
        await sink.write(place.rows(0, 5))
        staged = self.journalled(await sink.prepare(2, final=False))
        await place.kill(sink)
        sink = place.sink(_nothing)
        await sink.commit(staged)
        await sink.open(task(2), staged)
        await sink.discard(task(2), staged)
        await sink.commit(self.journalled(await sink.prepare(3, final=True)))
        await sink.close()
        assert sorted(place.visible()) == [*range(5)]

    async def test_opening_cuts_back_to_the_last_decision(self) -> None:
        """Rows behind it will be read again, whether they were prepared or only written."""
        for prepared in (False, True):
            place = self.place()
            sink, _ = await self.seeded(place)
            await sink.write(place.rows(0, 5))
            last = self.journalled(await sink.prepare(2, final=False))
            await sink.commit(last)
            await sink.write(place.rows(5, 8))
            if prepared:
                await sink.prepare(3, final=False)
            await place.kill(sink)
            sink = place.sink(_nothing)
            await sink.commit(last)
            await sink.open(task(2), last)
            await sink.discard(task(2), last)
            await sink.write(place.rows(5, 9))
            await sink.commit(self.journalled(await sink.prepare(1, final=True)))
            await sink.close()
            assert sorted(place.visible()) == [*range(9)]
            assert list(place.litter()) == []

    async def test_discard_drops_what_smaller_runs_staged_except_what_it_keeps(self) -> None:
        """What nobody decided would stay for ever; what was decided must not go."""
        place = self.place()
        sink, _ = await self.seeded(place)
        await sink.write(place.rows(0, 5))
        kept = self.journalled(await sink.prepare(2, final=False))
        await sink.write(place.rows(5, 8))
        await sink.prepare(3, final=False)
        await place.kill(sink)
        sink = place.sink(_nothing)
        await sink.open(task(2), kept)
        await sink.discard(task(2), kept)
        await sink.commit(kept)
        await sink.commit(self.journalled(await sink.prepare(1, final=True)))
        await sink.close()
        assert sorted(place.visible()) == [*range(5)]
        assert list(place.litter()) == []

    async def test_a_zombie_neither_replaces_nor_discards_what_a_larger_run_staged(self) -> None:
        """A process that was taken for dead wakes up; a lock or a fence may stop it, too."""
        place = self.place()
        zombie, seed = await self.seeded(place, run=1)
        newer = place.sink(_nothing)
        alive = True
        try:
            await newer.open(task(2), seed)
        except Unavailable:  # it waits for the zombie's lock, which ends with its process
            alive = False
            await newer.close()
            await place.kill(zombie)
            newer = place.sink(_nothing)
            await newer.open(task(2), seed)
        await newer.discard(task(2), seed)
        await newer.write(place.rows(0, 5))
        staged = self.journalled(await newer.prepare(2, final=True))
        if alive:
            with suppress(Unavailable, Rejected, Corrupted):  # it may be told that it is one
                await self._disturb(place, zombie)
        late = place.sink(_nothing)
        with suppress(Unavailable, Rejected, Corrupted):
            await late.open(task(1), seed)
            await self._disturb(place, late)
        await place.kill(late)
        await newer.commit(staged)
        await newer.close()
        assert sorted(place.visible()) == [*range(5)]

    async def _disturb(
        self,
        place: SinkPlace[StagingSink[CommittableT]],
        zombie: StagingSink[CommittableT],
    ) -> None:
        await zombie.write(place.rows(100, 103))
        await zombie.prepare(2, final=False)
        await zombie.discard(task(1), None)

    async def test_dying_at_any_point_twice_leaves_every_row_visible_once(self) -> None:
        """The engine's order with a death after every call and at every probe."""

        def make() -> History:
            return _StagingHistory(self.place(), self.journalled, hides=self.hides_undecided)

        await die_everywhere(make, stride=self.second_deaths)


class StagingSinkSuite(InPlaceSinkSuite[CommittableT]):
    """For a staging sink."""

    hides_undecided = True

    async def test_rows_are_invisible_until_their_commit(self) -> None:
        """What is prepared may yet be refused: nobody may have acted on it."""
        place = self.place()
        sink, _ = await self.seeded(place)
        await sink.write(place.rows(0, 5))
        assert list(place.visible()) == []
        staged = await sink.prepare(2, final=True)
        assert list(place.visible()) == []
        await sink.commit(staged)
        assert sorted(place.visible()) == [*range(5)]
        await sink.close()


class _StagingHistory(History, Generic[CommittableT]):
    """An engine with one register, around one place."""

    def __init__(
        self,
        place: SinkPlace[StagingSink[CommittableT]],
        journalled: Callable[[CommittableT], CommittableT],
        *,
        hides: bool,
    ) -> None:
        self._place = place
        self._journalled = journalled
        self._hides = hides
        self._run = 0
        self._decided: CommittableT | None = None
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

    async def _work(self, sink: StagingSink[CommittableT], crashes: Crashes) -> None:
        if self._decided is not None:
            await sink.commit(self._decided)
            crashes("committed again")
        await sink.open(task(self._run), self._decided)
        crashes("opened")
        await sink.discard(task(self._run), self._decided)
        crashes("discarded")
        number = 1
        if self._decided is None:
            await self._close(sink, crashes, number, self._rows)
        at = self._rows
        while at < ROWS:
            number += 1
            due = min(self._rows + PER_CHECKPOINT * BATCH, ROWS)
            while at < due:
                at = await self._write(sink, crashes, at)
            at = await self._close(sink, crashes, number, due)
        await self._close(sink, crashes, number + 1, ROWS, final=True)

    async def _write(self, sink: StagingSink[CommittableT], crashes: Crashes, at: int) -> int:
        stop = min(at + BATCH, ROWS)
        await sink.write(self._place.rows(at, stop))
        crashes("written")
        return stop

    async def _close(
        self,
        sink: StagingSink[CommittableT],
        crashes: Crashes,
        number: int,
        rows: int,
        *,
        final: bool = False,
    ) -> int:
        """Decide a checkpoint while rows of the next one are written; returns how many rows are."""
        staged = await sink.prepare(number, final=final)
        crashes("prepared")
        written = await self._write(sink, crashes, rows) if 0 < rows < ROWS else rows
        self._decided, self._rows = self._journalled(staged), rows
        crashes("decided")
        await sink.commit(self._decided)
        crashes("committed")
        return written

    def check(self, *, ended: bool) -> None:
        visible = sorted(self._place.visible())
        if ended:
            assert visible == ALL
            assert list(self._place.litter()) == []
        elif self._hides:
            assert visible == ALL[: len(visible)]
            assert len(visible) <= self._rows
