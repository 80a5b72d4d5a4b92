"""One transaction of the writer: what it read, and what the jobs of its group add to it.

A job is judged by ``dataflow.journal.rules`` against this transaction's own reads and against the
jobs before it. Only a job that is accepted in full leaves anything here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from dataflow.core.checkpoint import Stamp
from dataflow.core.ids import Offset, PipelineId, Run, ShardId
from dataflow.journal import rules
from dataflow.journal.contract import (
    AppendId,
    Decision,
    Fence,
    Hash,
    Held,
    Nonce,
    Outcome,
    Record,
    Snapshot,
)
from dataflow.journal.sqlite import rows
from dataflow.journal.sqlite.statements import Row, write_rows
from dataflow.journal.statements import load

SQL = load("dataflow.journal.sqlite", "journal.sql")

SNAPSHOTS_KEPT = 2
"""The newest, and the one before in case the newest turns out to be damaged."""

T_co = TypeVar("T_co", covariant=True)


class Transaction:
    """The state that a group of jobs sees and changes; ``write`` puts the changes down."""

    def __init__(self, connection: sqlite3.Connection, jobs: Sequence[Job[object]]) -> None:
        self._connection = connection
        self._ends = self._load_ends({job.shard for job in jobs if job.shard is not None})
        self._stamps = self._load_stamps({name for job in jobs for name in job.pipelines})
        self._changed: set[ShardId] = set()
        self.records: list[rows.RecordRow] = []
        self._registers: dict[PipelineId, Row] = {}
        self._snapshots: list[tuple[Held, Snapshot]] = []
        self._index = False

    def end(self, shard: ShardId) -> rules.End:
        """Return a shard's end as the jobs so far have left it."""
        return self._ends.get(shard, rules.UNTOUCHED)

    def move_end(self, shard: ShardId, end: rules.End) -> None:
        """Change a shard's end."""
        self._ends[shard] = end
        self._changed.add(shard)

    def stamp(self, pipeline: PipelineId) -> Stamp:
        """Return what a register holds as the jobs so far have left it."""
        return self._stamps.get(pipeline, Stamp())

    def register(self, decision: Decision) -> None:
        """Overwrite a register."""
        self._stamps[decision.pipeline] = decision.stamp
        self._registers[decision.pipeline] = rows.from_decision(decision)

    def snapshot(self, held: Held, snapshot: Snapshot) -> None:
        """Keep a snapshot."""
        self._snapshots.append((held, snapshot))

    def index(self) -> None:
        """Make every record findable by shard and by pipeline."""
        self._index = True

    def write(self) -> None:
        """Put down everything that the jobs have changed."""
        write, run = write_rows, self._connection.execute
        write(self._connection, SQL["append"], self.records)
        ends = [(shard, self._ends[shard]) for shard in sorted(self._changed)]
        write(
            self._connection,
            SQL["save_ends"],
            [(s, e.fence, e.nonce, e.offset, e.head, e.append_id) for s, e in ends],
        )
        write(self._connection, SQL["decide"], list(self._registers.values()))
        for held, snapshot in self._snapshots:
            run(SQL["drop_snapshot"], {"shard": held.shard, "offset": snapshot.offset})
            chunks = rows.from_snapshot(held, snapshot)
            write(self._connection, SQL["save_snapshot"], chunks)
            run(SQL["drop_old_snapshots"], {"shard": held.shard, "kept": SNAPSHOTS_KEPT})
        if self._index:
            index(self._connection)

    def _load_ends(self, shards: Iterable[ShardId]) -> dict[ShardId, rules.End]:
        given = {"shards": json.dumps(list(shards))}
        (text,) = self._connection.execute(SQL["load_ends"], given).fetchone()
        return {
            ShardId(shard): rules.End(
                fence=Fence(fence),
                nonce=Nonce(nonce),
                offset=Offset(offset),
                head=Hash(bytes.fromhex(head)),
                append_id=AppendId(append_id),
            )
            for shard, fence, nonce, offset, head, append_id in json.loads(text)
        }

    def _load_stamps(self, pipelines: set[PipelineId]) -> dict[PipelineId, Stamp]:
        if not pipelines:
            return {}
        given = {"pipelines": json.dumps(list(pipelines))}
        (text,) = self._connection.execute(SQL["load_stamps"], given).fetchone()
        return {
            PipelineId(name): Stamp(run=Run(run), number=number)
            for name, run, number in json.loads(text)
        }


def index(connection: sqlite3.Connection) -> None:
    """Add what is new in the log to both indexes; ``indexed`` AFTER them, for they read it."""
    for name in ("index_by_shard", "index_by_pipeline", "indexed"):
        connection.execute(SQL[name])


class Job(Protocol[T_co]):
    """Something asked of the writer."""

    @property
    def shard(self) -> ShardId | None:
        """Whose end it looks at."""
        ...

    @property
    def pipelines(self) -> Sequence[PipelineId]:
        """Whose registers it looks at."""
        ...

    @property
    def size(self) -> int:
        """Bytes it is about to write, roughly."""
        ...

    def apply(self, transaction: Transaction) -> T_co:
        """Judge the job and, if it is accepted, add it; raise what its caller shall get."""
        ...


@dataclass(frozen=True, slots=True)
class Acquire:
    """Raise a shard's fence."""

    shard: ShardId
    nonce: Nonce
    pipelines: Sequence[PipelineId] = ()
    size: int = 0

    def apply(self, transaction: Transaction) -> Held:
        """See ``Journal.acquire``."""
        end = rules.acquired(transaction.end(self.shard), self.nonce)
        transaction.move_end(self.shard, end)
        return rules.held(self.shard, end)


@dataclass(frozen=True, slots=True)
class Append:
    """Write records behind a log's end."""

    held: Held
    records: Sequence[Record]
    append_id: AppendId
    pipelines: Sequence[PipelineId] = ()

    @property
    def shard(self) -> ShardId:
        """Whose log it is."""
        return self.held.shard

    @property
    def size(self) -> int:
        """Of the payloads."""
        return sum(len(record.payload) for record in self.records)

    def apply(self, transaction: Transaction) -> Held:
        """See ``Journal.append``."""
        before = transaction.end(self.shard)
        end = rules.appended(self.held, before, self.records, self.append_id)
        if end is not before:
            # BEFORE the end moves: a value that fits no column must leave nothing behind.
            written = [rows.from_record(self.shard, record) for record in self.records]
            transaction.records += written
            transaction.move_end(self.shard, end)
        return rules.held(self.shard, end)


@dataclass(frozen=True, slots=True)
class Decide:
    """Write registers by compare-and-set."""

    held: Held
    decisions: Sequence[Decision]

    @property
    def shard(self) -> ShardId:
        """Whose fence counts."""
        return self.held.shard

    @property
    def pipelines(self) -> Sequence[PipelineId]:
        """Whose registers they are."""
        return [decision.pipeline for decision in self.decisions]

    @property
    def size(self) -> int:
        """Of the payloads."""
        return sum(len(decision.payload) for decision in self.decisions)

    def apply(self, transaction: Transaction) -> Sequence[Outcome]:
        """See ``Journal.decide``."""
        rules.check_fence(self.held, transaction.end(self.shard))
        outcomes = []
        for decision in self.decisions:
            outcome = rules.outcome(transaction.stamp(decision.pipeline), decision)
            if outcome.accepted:
                transaction.register(decision)
            outcomes.append(outcome)
        return outcomes


@dataclass(frozen=True, slots=True)
class SaveSnapshot:
    """Keep a shard's snapshot."""

    held: Held
    snapshot: Snapshot
    pipelines: Sequence[PipelineId] = ()

    @property
    def shard(self) -> ShardId:
        """Whose snapshot it is."""
        return self.held.shard

    @property
    def size(self) -> int:
        """Of the payload."""
        return len(self.snapshot.payload)

    def apply(self, transaction: Transaction) -> None:
        """See ``Journal.save_snapshot``."""
        rules.check_fence(self.held, transaction.end(self.shard))
        transaction.snapshot(self.held, self.snapshot)


@dataclass(frozen=True, slots=True)
class Index:
    """Make every record findable, and say where the log ends."""

    shard: ShardId | None
    pipelines: Sequence[PipelineId] = ()
    size: int = 0

    def apply(self, transaction: Transaction) -> rules.End:
        """Return the end of the shard's log; everything up to there can be read afterwards."""
        transaction.index()
        return rules.UNTOUCHED if self.shard is None else transaction.end(self.shard)
