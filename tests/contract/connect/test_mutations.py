"""The suites catch what authors get wrong: each example is broken on purpose, once a test.

A suite that a broken connector passes proves nothing; a mutation that survives is a hole in it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from inspect import iscoroutinefunction
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dataflow.connect import (
    Checkpoint,
    Chunk,
    Fenced,
    Operator,
    Output,
    Pinned,
    Split,
    Task,
    Transform,
    Via,
)
from dataflow.connect.testkit import (
    IdempotentSinkSuite,
    OperatorSuite,
    SourceSuite,
    StagingSinkSuite,
    TransactionalSinkSuite,
    TransformSuite,
)
from dataflow.connect.transform import ERROR, MAIN, ORDINAL
from tests.contract.connect.examples.arrow_files import ArrowFiles, StagedFile
from tests.contract.connect.examples.keyed import Keyed
from tests.contract.connect.examples.lines import Lines, LinesOptions, LinesPosition
from tests.contract.connect.examples.sqlite_table import SqliteTable
from tests.contract.connect.places import (
    ArrowFilesKind,
    ArrowFilesPlace,
    KeyedKind,
    KeyedPlace,
    SqliteTableKind,
    SqliteTablePlace,
)


async def is_caught(suite: object, test: str) -> bool:
    """Tell whether a test of a suite fails."""
    run = getattr(suite, f"test_{test}")
    try:
        if iscoroutinefunction(run):
            await run()
        else:
            run()
    except Exception:  # noqa: BLE001 - whatever makes a test fail has caught the mutation
        return True
    return False


# --- sources -----------------------------------------------------------------------------------


class LinesSuite(SourceSuite[LinesPosition, Pinned]):
    """The source suite over a mutated source."""

    position = LinesPosition
    pinned = Pinned

    def __init__(self, root: Path, kind: type[Lines]) -> None:
        self._root = root
        self._kind = kind
        (root / "a.txt").write_bytes(b"".join(b"a%d\n" % i for i in range(20)))

    def source(self) -> Lines:
        return self._kind(self._root, LinesOptions(glob="*.txt"), 7)


class PositionBeforeLastRow(Lines):
    """The last row read, where it should be the next one."""

    async def read(
        self, split: Split, start: LinesPosition | None
    ) -> AsyncGenerator[Chunk[LinesPosition], None]:
        async for chunk in super().read(split, start):
            last = len(chunk.batch.column(0)[-1].as_py()) + 1
            yield Chunk(chunk.batch, LinesPosition(byte=chunk.resume_at.byte - last))


class ForgetsItsStart(Lines):
    """Always from the beginning."""

    async def read(
        self, split: Split, start: LinesPosition | None
    ) -> AsyncGenerator[Chunk[LinesPosition], None]:
        async for chunk in super().read(split, None):
            yield chunk


class EndsWithAnEmptyChunk(Lines):
    """One chunk too many."""

    async def read(
        self, split: Split, start: LinesPosition | None
    ) -> AsyncGenerator[Chunk[LinesPosition], None]:
        position = start or LinesPosition(byte=0)
        async for chunk in super().read(split, start):
            position = chunk.resume_at
            yield chunk
        yield Chunk(pa.record_batch({"line": pa.array([], pa.binary())}), position)


class ChangesItsSchema(Lines):
    """A type that depends on where a chunk ends."""

    async def read(
        self, split: Split, start: LinesPosition | None
    ) -> AsyncGenerator[Chunk[LinesPosition], None]:
        async for chunk in super().read(split, start):
            of = pa.binary() if chunk.batch.num_rows == 7 else pa.string()
            line = chunk.batch.column(0).cast(of)
            yield Chunk(pa.record_batch({"line": line}), chunk.resume_at)


class ReadsOnAcrossReaders(Lines):
    """Keeps its place in the instance, where it belongs to the reader."""

    _at: LinesPosition | None = None

    async def read(
        self, split: Split, start: LinesPosition | None
    ) -> AsyncGenerator[Chunk[LinesPosition], None]:
        async for chunk in super().read(split, self._at or start):
            self._at = chunk.resume_at
            yield chunk


class ForgetsWhatItPinned(Lines):
    """Pins something else each time it is asked."""

    async def open(self, pinned: Pinned | None) -> Pinned | None:
        return None if pinned is not None else Pinned()


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (PositionBeforeLastRow, "resuming_at_any_position_yields_exactly_the_remaining_records"),
        (ForgetsItsStart, "resuming_at_any_position_yields_exactly_the_remaining_records"),
        (EndsWithAnEmptyChunk, "no_chunk_says_nothing_and_the_schema_never_changes"),
        (ChangesItsSchema, "no_chunk_says_nothing_and_the_schema_never_changes"),
        (ReadsOnAcrossReaders, "reading_again_yields_the_same"),
        (ReadsOnAcrossReaders, "a_reader_can_be_closed_early"),
        (ForgetsWhatItPinned, "what_is_pinned_survives_the_journal_and_stays"),
    ],
)
async def test_a_broken_source_is_caught(kind: type[Lines], test: str, tmp_path: Path) -> None:
    """By the test that says what it broke."""
    assert await is_caught(LinesSuite(tmp_path, kind), test)


# --- staging sinks -----------------------------------------------------------------------------


class ArrowFilesSuite(StagingSinkSuite[StagedFile]):
    """The staging suite over a mutated sink."""

    committable = StagedFile
    second_deaths = 7

    def __init__(self, root: Path, kind: ArrowFilesKind) -> None:
        self._root = root
        self._kind = kind
        self._number = count()

    def place(self) -> ArrowFilesPlace:
        return ArrowFilesPlace(self._root / str(next(self._number)), self._kind)


class CommitsOnlyOnce(ArrowFiles):
    """A commit that is not idempotent."""

    def _reveal(self, name: str) -> None:
        (self._staging / name).rename(self._visible / name)


class ShowsWhatIsStaged(ArrowFiles):
    """Stages where readers look."""

    async def prepare(self, number: int, *, final: bool) -> StagedFile:
        staged = await super().prepare(number, final=final)
        await self.commit(staged)
        return staged


class NamesNoRun(ArrowFiles):
    """The run left out of the staged name."""

    def name_of(self, number: int) -> str:
        assert self._task is not None
        name = super().name_of(number)
        return name.replace(f".{self._task.run}.{number}.", f".0.{number}.")


class DiscardsWithoutTheRun(ArrowFiles):
    """Drops stages of any run."""

    def _discard(self, task: Task, keep: str) -> None:
        for path in self._staging.glob(f"{task.pipeline}.{task.index}.*.arrow"):
            if path.name != keep:
                path.unlink()


class DiscardsWhatToKeep(ArrowFiles):
    """Drops what was decided."""

    async def discard(self, task: Task, keep: StagedFile | None) -> None:
        await super().discard(task, None)


class NeverDiscards(ArrowFiles):
    """Leaves litter."""

    async def discard(self, task: Task, keep: StagedFile | None) -> None:
        pass


class ForgetsTheLastBatch(ArrowFiles):
    """Prepares all but the smaller batch at the end."""

    async def prepare(self, number: int, *, final: bool) -> StagedFile:
        self._batches = [batch for batch in self._batches if batch.num_rows > 1]
        return await super().prepare(number, final=final)


class PreparesInMemory(ArrowFiles):
    """Writes at the commit, when the process that had the rows may be gone."""

    _held: Mapping[str, Sequence[pa.RecordBatch]] = {}

    def _write_durably(self, path: Path, batches: Sequence[pa.RecordBatch]) -> None:
        self._held = {**self._held, path.name: batches}

    def _reveal(self, name: str) -> None:
        if name in self._held:
            super()._write_durably(self._staging / name, self._held[name])
        super()._reveal(name)


class EmptiesItsPlace(ArrowFiles):
    """Clears what is there before its lineage is decided."""

    async def open(self, task: Task, last: StagedFile | None) -> None:
        await super().open(task, last)
        for path in self._visible.glob("*.arrow") if last is None else ():
            path.unlink()


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (CommitsOnlyOnce, "committing_again_changes_nothing"),
        (ShowsWhatIsStaged, "rows_are_invisible_until_their_commit"),
        (NamesNoRun, "a_zombie_neither_replaces_nor_discards_what_a_larger_run_staged"),
        (DiscardsWithoutTheRun, "a_zombie_neither_replaces_nor_discards_what_a_larger_run_staged"),
        (DiscardsWhatToKeep, "discard_drops_what_smaller_runs_staged_except_what_it_keeps"),
        (NeverDiscards, "discard_drops_what_smaller_runs_staged_except_what_it_keeps"),
        (NeverDiscards, "dying_at_any_point_twice_leaves_every_row_visible_once"),
        (ForgetsTheLastBatch, "dying_at_any_point_twice_leaves_every_row_visible_once"),
        (PreparesInMemory, "a_decided_checkpoint_is_committed_by_an_instance_that_never_saw_it"),
        (EmptiesItsPlace, "the_seed_touches_nothing"),
    ],
)
async def test_a_broken_staging_sink_is_caught(
    kind: ArrowFilesKind, test: str, tmp_path: Path
) -> None:
    """By the test that says what it broke."""
    assert await is_caught(ArrowFilesSuite(tmp_path, kind), test)


# --- transactional sinks -----------------------------------------------------------------------


class SqliteTableSuite(TransactionalSinkSuite):
    """The transactional suite over a mutated sink."""

    second_deaths = 9

    def __init__(self, root: Path, kind: SqliteTableKind) -> None:
        self._root = root
        self._kind = kind
        self._number = count()

    def place(self) -> SqliteTablePlace:
        return SqliteTablePlace(self._root / str(next(self._number)), self._kind)


class CommitsRowsAlone(SqliteTable):
    """Two transactions, where there must be one."""

    def _write(self, batch: pa.RecordBatch) -> None:
        super()._write(batch)
        self._db.execute("COMMIT")


class DecidesWithoutComparing(SqliteTable):
    """A set without its compare."""

    def _commit(self, decision: Checkpoint) -> None:
        assert self._task is not None
        held = self._db.execute("SELECT claimed, run, number FROM dataflow_decisions").fetchone()
        self._task = Task(self._task.pipeline, self._task.index, held[0], self._task.lineage)
        self._last = Checkpoint(stamp=type(self._last.stamp)(held[1], held[2]))
        super()._commit(decision)


class ClaimsNothing(SqliteTable):
    """Takes up the decision and leaves the claim to whoever had it."""

    def _recover(self, task: Task, seed: Checkpoint) -> Checkpoint:
        try:
            return super()._recover(Task(task.pipeline, task.index, 1, task.lineage), seed)  # type: ignore[arg-type]  # any run will do
        except Fenced:
            return seed


class ForgetsItsDecision(SqliteTable):
    """Begins at the seed, whatever it holds."""

    def _recover(self, task: Task, seed: Checkpoint) -> Checkpoint:
        super()._recover(task, seed)
        return seed


class GoesOnInAnotherLineage(SqliteTable):
    """Takes positions of one lineage for those of the next."""

    def _recover(self, task: Task, seed: Checkpoint) -> Checkpoint:
        held = self._db.execute("SELECT name FROM sqlite_master").fetchall()
        if held:
            row = self._db.execute("SELECT decision FROM dataflow_decisions").fetchone()
            seed = Checkpoint(lineage=_lineage_of(row[0])) if row else seed
        return super()._recover(task, seed)


def _lineage_of(text: str) -> Any:  # noqa: ANN401 - a number as the decision has it
    from dataflow.connect import decision_from  # noqa: PLC0415 - the mutation's own

    return decision_from(text).lineage


class OneDecisionForAll(SqliteTable):
    """The decision's key lacks the pipeline."""

    def _recover(self, task: Task, seed: Checkpoint) -> Checkpoint:
        return super()._recover(Task("p", 0, task.run, task.lineage), seed)  # type: ignore[arg-type]  # any id will do


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (CommitsRowsAlone, "rows_and_decision_become_visible_together"),
        (CommitsRowsAlone, "close_rolls_back_what_is_not_committed"),
        (DecidesWithoutComparing, "an_older_run_is_fenced_once_a_newer_one_has_claimed"),
        (ClaimsNothing, "an_older_run_is_fenced_once_a_newer_one_has_claimed"),
        (ForgetsItsDecision, "the_last_decision_comes_back_whole"),
        (ForgetsItsDecision, "after_an_unknown_outcome_the_next_run_finds_out"),
        (ForgetsItsDecision, "dying_at_any_point_twice_leaves_every_row_visible_once"),
        (ForgetsItsDecision, "a_lineage_that_goes_on_does_so_from_what_the_place_holds"),
        (GoesOnInAnotherLineage, "a_new_lineage_begins_at_its_seed_and_keeps_the_rows"),
        (OneDecisionForAll, "pipelines_in_one_place_keep_their_decisions_apart"),
    ],
)
async def test_a_broken_transactional_sink_is_caught(
    kind: SqliteTableKind, test: str, tmp_path: Path
) -> None:
    """By the test that says what it broke."""
    assert await is_caught(SqliteTableSuite(tmp_path, kind), test)


# --- idempotent sinks --------------------------------------------------------------------------


class KeyedSuite(IdempotentSinkSuite):
    """The idempotent suite over a mutated sink."""

    second_deaths = 5

    def __init__(self, root: Path, kind: KeyedKind) -> None:
        self._root = root
        self._kind = kind
        self._number = count()

    def place(self) -> KeyedPlace:
        return KeyedPlace(self._root / str(next(self._number)), self._kind)


class KeyedByRun(Keyed):
    """A key that changes with every attempt."""

    def key_of(self, split: str, ordinal: int) -> tuple[object, ...]:
        assert self._task is not None
        pipeline, lineage, _, _ = super().key_of(split, ordinal)
        return pipeline, lineage, f"{self._task.run}.{split}", ordinal


class KeyedByBatch(Keyed):
    """A key that depends on how rows are cut into batches."""

    async def write(self, batch: pa.RecordBatch, split: str) -> None:
        rows = batch.num_rows
        await super().write(batch, f"{split}.{rows}")


class KeyedWithoutSplit(Keyed):
    """Every split counts from 0."""

    def key_of(self, split: str, ordinal: int) -> tuple[object, ...]:
        return super().key_of("", ordinal)


class FlushesLater(Keyed):
    """Says that rows are durable before they are."""

    async def flush(self) -> None:
        pass

    async def close(self) -> None:
        await super().flush()


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (KeyedByRun, "writing_the_same_rows_again_changes_nothing"),
        (KeyedByRun, "dying_at_any_point_twice_leaves_every_row_visible_once"),
        (KeyedByBatch, "writing_the_same_rows_again_changes_nothing"),
        (KeyedWithoutSplit, "records_of_splits_lineages_and_pipelines_never_collide"),
        (FlushesLater, "rows_are_durable_after_a_flush"),
        (FlushesLater, "dying_at_any_point_twice_leaves_every_row_visible_once"),
    ],
)
async def test_a_broken_idempotent_sink_is_caught(
    kind: KeyedKind, test: str, tmp_path: Path
) -> None:
    """By the test that says what it broke."""
    assert await is_caught(KeyedSuite(tmp_path, kind), test)


# --- transforms --------------------------------------------------------------------------------


class Odd(Transform):
    """Keeps odd numbers and refuses negative ones."""

    def apply(self, batch: pa.RecordBatch) -> Output:
        a = batch.column("a")
        bad = pc.less(a, pa.scalar(0))
        odd = pc.and_not(pc.equal(pc.bit_wise_and(a, pa.scalar(1)), pa.scalar(1)), bad)
        made = batch.filter(odd)
        refused = batch.filter(bad)
        errors = pa.array(["negative"] * refused.num_rows, pa.large_string())
        filtered = batch.num_rows - made.num_rows - refused.num_rows
        return Output({MAIN: made}, refused.append_column(ERROR, errors), filtered)


class MiscountsFiltered(Odd):
    """Loses rows without a word."""

    def apply(self, batch: pa.RecordBatch) -> Output:
        output = super().apply(batch)
        return Output(output.batches, output.rejected, 0)


class DropsOrdinals(Odd):
    """Rows without a name."""

    def apply(self, batch: pa.RecordBatch) -> Output:
        output = super().apply(batch)
        made = output.batches[MAIN].drop_columns([ORDINAL])
        return Output({MAIN: made}, output.rejected, output.filtered)


class RenumbersOrdinals(Odd):
    """Rows with the names of others."""

    def apply(self, batch: pa.RecordBatch) -> Output:
        output = super().apply(batch)
        made = output.batches[MAIN].drop_columns([ORDINAL])
        numbers = pa.array(range(900, 900 + made.num_rows), pa.int64())
        made = made.append_column(ORDINAL, numbers)
        return Output({MAIN: made}, output.rejected, output.filtered)


class RefusesWhatItMade(Odd):
    """A dead letter that is not the record as it came in."""

    def apply(self, batch: pa.RecordBatch) -> Output:
        output = super().apply(batch)
        assert output.rejected is not None
        return Output(output.batches, output.rejected.drop_columns(["a"]), output.filtered)


class ChangesItsSchemaWhenEmpty(Odd):
    """An empty batch without columns."""

    def apply(self, batch: pa.RecordBatch) -> Output:
        output = super().apply(batch)
        if batch.num_rows:
            return output
        return Output({MAIN: output.batches[MAIN].select([ORDINAL])})


class OddSuite(TransformSuite):
    """The transform suite over a mutated transform."""

    kind: type[Odd] = Odd

    def transform(self) -> Odd:
        return self.kind()

    def batches(self) -> Sequence[pa.RecordBatch]:
        return [
            pa.record_batch({"a": pa.array([1, 2, -3, 5]), ORDINAL: pa.array([0, 1, 2, 3])}),
            pa.record_batch({"a": pa.array([7, -1, 8]), ORDINAL: pa.array([4, 5, 6])}),
        ]


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (MiscountsFiltered, "every_row_is_accounted_for"),
        (DropsOrdinals, "rows_keep_their_ordinals"),
        (RenumbersOrdinals, "rows_keep_their_ordinals"),
        (RefusesWhatItMade, "refused_rows_come_with_their_columns_and_a_reason"),
        (ChangesItsSchemaWhenEmpty, "an_empty_batch_keeps_the_schema"),
    ],
)
async def test_a_broken_transform_is_caught(kind: type[Odd], test: str) -> None:
    """By the test that says what it broke."""
    suite = OddSuite()
    suite.kind = kind
    assert await is_caught(suite, test)


class TestOdd(OddSuite):
    """Unbroken it passes, else every mutation would be caught for no reason.

    The other examples pass their suites in ``test_examples``.
    """


# --- operators ---------------------------------------------------------------------------------


class Sums(Operator):
    """Keeps sums by key and gives them at the end; tells the sums that have changed."""

    def __init__(self) -> None:
        self.sums: dict[str, int] = {}
        self.changed: set[str] = set()

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        for row in batch.to_pylist():
            self.sums[row["key"]] = self.sums.get(row["key"], 0) + row["n"]
            self.changed.add(row["key"])
        return Output(absorbed=batch.num_rows)

    def input_ended(self, input_name: str) -> Output:
        keys = sorted(self.sums)
        made = pa.record_batch({"key": keys, "sum": [self.sums[key] for key in keys]})
        return Output({MAIN: made}, produced=made.num_rows)

    def changes(self, *, whole: bool) -> bytes | None:
        told = dict(self.sums) if whole else {key: self.sums[key] for key in self.changed}
        self.changed.clear()
        return json.dumps(told).encode() if told else None

    def restore(self, parts: Sequence[bytes]) -> None:
        for part in parts:
            self.sums.update(json.loads(part))


class CountsNothingAbsorbed(Sums):
    """Loses rows without a word."""

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        super().apply(batch, via)
        return Output()


class CountsNothingProduced(Sums):
    """Gives rows that nobody counts."""

    def input_ended(self, input_name: str) -> Output:
        return Output(super().input_ended(input_name).batches)


class CountsNothingOfTheRest(Sums):
    """Gives what does not fit into one batch afterwards, and does not count it."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[pa.RecordBatch] = []

    def input_ended(self, input_name: str) -> Output:
        (made,) = super().input_ended(input_name).batches.values()
        self.left = [made.slice(1)]
        return Output({MAIN: made.slice(0, 1)}, produced=1)

    def rest(self) -> Output | None:
        return Output({MAIN: self.left.pop()}) if self.left else None


class EndsAtAnEmptyBatch(Sums):
    """Takes a batch without rows for the end."""

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        if not batch.num_rows:
            self.sums.clear()
        return super().apply(batch, via)


class ForgetsItsState(Sums):
    """Tells nothing."""

    def changes(self, *, whole: bool) -> bytes | None:
        return None


class TellsOnlyTheFirstTime(Sums):
    """Takes every later change for told."""

    def changes(self, *, whole: bool) -> bytes | None:
        return super().changes(whole=True) if whole else None


class TakesUpOnlyTheLastPart(Sums):
    """Takes a change for the whole."""

    def restore(self, parts: Sequence[bytes]) -> None:
        super().restore(parts[-1:])


class SumsSuite(OperatorSuite):
    """The operator suite over a mutated operator."""

    kind: type[Sums] = Sums

    def operator(self) -> Sums:
        return self.kind()

    def batches(self) -> Sequence[pa.RecordBatch]:
        return [
            pa.record_batch({"key": ["a", "b"], "n": [1, 2], ORDINAL: [0, 1]}),
            pa.record_batch({"key": ["a"], "n": [5], ORDINAL: [2]}),
            pa.record_batch({"key": ["c", "a"], "n": [7, 1], ORDINAL: [3, 4]}),
        ]


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (CountsNothingAbsorbed, "every_row_is_accounted_for"),
        (CountsNothingProduced, "every_row_is_accounted_for"),
        (CountsNothingOfTheRest, "every_row_is_accounted_for"),
        (EndsAtAnEmptyBatch, "an_empty_batch_brings_nothing"),
        (ForgetsItsState, "a_restored_instance_goes_on_as_if_nothing_had_happened"),
        (TellsOnlyTheFirstTime, "a_restored_instance_goes_on_as_if_nothing_had_happened"),
        (TakesUpOnlyTheLastPart, "a_restored_instance_goes_on_as_if_nothing_had_happened"),
    ],
)
async def test_a_broken_operator_is_caught(kind: type[Sums], test: str) -> None:
    """By the test that says what it broke, which its sound twin passes."""
    suite = SumsSuite()
    assert not await is_caught(suite, test)
    suite.kind = kind
    assert await is_caught(suite, test)
