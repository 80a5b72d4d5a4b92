"""Messages of the log to chunks: which are ours, where each stands, and what it becomes.

Begin -> rows, truncates -> Commit        a transaction, whole, in the order of commits
position (lsn of the commit, n)           the n-th of its changes comes next
position (lsn behind the commit, 0)       the next transaction comes next
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from dataflow.connect import Chunk, Rejected
from dataflow.connectors.formats.parse import rejected
from dataflow.connectors.postgres.sink_spec import TableName
from dataflow.connectors.postgres.source import pgoutput as p
from dataflow.connectors.postgres.source.changed import Changed, Transaction
from dataflow.connectors.postgres.source.replication import shown
from dataflow.connectors.postgres.source.spec import (
    PostgresPinned,
    PostgresPosition,
    PostgresSourceOptions,
)
from dataflow.connectors.postgres.source.visible import Shown

log = structlog.get_logger()

_CHANGES = p.ROWS | {p.TRUNCATE}


@dataclass(slots=True)
class _Gathered:
    """Changes that will be one chunk, all of them of one form of the table."""

    relation: p.Relation
    messages: list[bytes] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    """Changes of each transaction."""


class Changes:
    """Reads the log from a position on. Not for two threads at once.

    Attributes:
        position: what comes next.
        refused: why nothing can be read behind it.
    """

    def __init__(
        self,
        table: TableName,
        pinned: PostgresPinned,
        options: PostgresSourceOptions,
        *,
        start: PostgresPosition,
        shown: Shown | None = None,
    ) -> None:
        """``shown`` is what snapshots have shown of what comes first."""
        self._table = table
        self._options = options
        self._changed = Changed(pinned, options, shown)
        self._columns = frozenset(column.name for column in pinned.columns)
        self._keys = frozenset(pinned.keys)
        self._relation: p.Relation | None = None
        self._start = start
        self._transaction: Transaction | None = None
        self._gathered: _Gathered | None = None
        self._found: list[Chunk[PostgresPosition]] = []
        self._is_told = False
        """Every snapshot has shown the transaction."""
        self._index = 0
        self._skip = 0
        self._shown = shown
        self._seen = shown.seen if shown is not None else ()
        self.position = start
        self.refused: Rejected | None = None

    @property
    def pending(self) -> bool:
        """Tell whether a transaction is under way."""
        return self._transaction is not None

    def chunks(self, messages: Sequence[bytes]) -> Sequence[Chunk[PostgresPosition]]:
        """Return what messages say, and note what comes behind them.

        Where the table was changed or truncated and options say to fail, ``refused`` tells so, and
        the chunks are what was before.
        """
        self._found = []
        try:
            self._take(messages)
        except Rejected as refused:
            self.refused = refused
        self._close_chunk()
        return self._found

    def _take(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            kind = message[0]
            if kind in _CHANGES:
                if self._is_next(message, kind):
                    self._add(message)
            elif kind == p.RELATION:
                self._relate(p.Relation.of(message))
            elif kind == p.BEGIN:
                self._begin(p.Begin.of(message))
            elif kind == p.COMMIT:
                self._commit(p.end_of(message))

    def moved(self, since: int) -> Chunk[PostgresPosition] | None:
        """Return a chunk without rows that moves the position on, if it has moved between two."""
        if self.pending or self.position.lsn <= since:
            return None
        return Chunk(self._changed.nothing, self.position)

    def passed(self, lsn: int) -> None:
        """Note that nothing of ours stands before a position, while no transaction is open."""
        if not self.pending and lsn > self.position.lsn:
            self._leave(lsn)
            self.position = self._at(lsn)

    def _at(self, lsn: int, index: int = 0) -> PostgresPosition:
        return PostgresPosition(lsn=lsn, index=index, seen=self._seen)

    def _leave(self, lsn: int) -> None:
        """Forget the snapshots, once nothing comes that they could have shown."""
        if all(one.lsn < lsn for one in self._seen):
            self._seen, self._shown = (), None

    def _begin(self, begin: p.Begin) -> None:
        self._leave(begin.lsn)
        shown = self._shown.transaction(begin.xid) if self._shown is not None else ()
        self._is_told = bool(shown) and all(shown)
        partly = tuple(shown) if any(shown) else ()
        self._transaction = Transaction(begin.lsn, begin.time_us, partly)
        self._index = self._skip = 0
        if begin.lsn == self._start.lsn:
            self._skip = self._start.index
        if begin.lsn >= self._start.lsn:
            self.position = self._at(begin.lsn, self._skip)

    def _commit(self, end: int) -> None:
        self._transaction = None
        if end > self.position.lsn:
            self.position = self._at(end)

    def _is_next(self, message: bytes, kind: int) -> bool:
        """Tell whether a change is the table's, and was not read before."""
        relation, transaction = self._relation, self._transaction
        if relation is None or transaction is None:
            return False
        if kind == p.TRUNCATE:
            ours = relation.oid in p.truncated(message)
        else:
            ours = int.from_bytes(message[1:5]) == relation.oid
        if not ours:
            return False
        self._index += 1
        if self._is_told or self._index <= self._skip or transaction.lsn < self._start.lsn:
            return False
        if kind == p.TRUNCATE and (transaction.shown or self._options.truncates != "row"):
            return self._may_skip(transaction)
        return True

    def _may_skip(self, transaction: Transaction) -> bool:
        if transaction.shown:
            raise Rejected(
                f"table {str(self._table)!r} was truncated while reading it had been broken off;"
                " replay the pipeline, which reads it anew",
                code="SOURCE_CHANGED",
                field="options.table",
            )
        if self._options.truncates == "skip":
            return False
        raise Rejected(
            f"table {str(self._table)!r} was truncated, by the transaction at"
            f" {shown(transaction.lsn)}; set truncates to row or skip",
            code="SOURCE_CHANGED",
            field="options.truncates",
        )

    def _add(self, message: bytes) -> None:
        transaction, relation = self._transaction, self._relation
        if transaction is None or relation is None:
            return
        if self._gathered is None:
            self._gathered = _Gathered(relation)
        gathered = self._gathered
        gathered.messages.append(message)
        if not gathered.transactions or gathered.transactions[-1] is not transaction:
            gathered.transactions.append(transaction)
            gathered.counts.append(0)
        gathered.counts[-1] += 1
        self.position = self._at(transaction.lsn, self._index)

    def _relate(self, relation: p.Relation) -> None:
        """Take note of how the table's rows look from now on.

        Raises:
            Rejected: it has another name, has columns that the lineage does not know, or lacks
                one of its keys.
        """
        if (relation.schema, relation.name) != (self._table.schema, self._table.name):
            if self._relation is not None and relation.oid == self._relation.oid:
                raise Rejected(
                    f"table {str(self._table)!r} is called {relation.schema}.{relation.name} now;"
                    " name it back, or replay the pipeline with the other name",
                    code="SOURCE_CHANGED",
                    field="options.table",
                )
            return
        if relation == self._relation:
            return
        self._close_chunk()
        self._relation = relation
        columns = frozenset(relation.columns)
        if lacking := self._keys - columns:
            raise Rejected(
                f"table {str(self._table)!r} has lost its key column {min(lacking)!r}; replay the"
                " pipeline, which begins anew",
                code="SOURCE_CHANGED",
                field="options.table",
            )
        if untold := self._keys - frozenset(relation.identity):
            raise Rejected(
                f"table {str(self._table)!r} has got another replica identity, and its log does not"
                f" tell {min(untold)!r} of changed rows any more; replay the pipeline, which begins"
                " anew with another key",
                code="SOURCE_CHANGED",
                field="options.table",
            )
        if (added := columns - self._columns) and self._options.new_columns == "fail":
            raise Rejected(
                f"table {str(self._table)!r} has got columns: {', '.join(sorted(added))}; set"
                " newColumns to drop, or replay the pipeline, which begins anew with them",
                code="SOURCE_CHANGED",
                field="options.newColumns",
            )
        log.info("table as the log has it", table=str(self._table), columns=relation.columns)

    def _close_chunk(self) -> None:
        gathered, self._gathered = self._gathered, None
        if gathered is None:
            return
        parsed = self._changed.rows(
            gathered.relation, gathered.messages, gathered.transactions, gathered.counts
        )
        if parsed.records:
            bad = rejected(parsed.bad) if parsed.bad else None
            size = sum(map(len, gathered.messages))
            self._found.append(Chunk(parsed.batch, self.position, bad, size))
