"""What became of every record on its way to each sink.

Rows can take several ways to one sink, and a step can have outputs that do not lead there: for
each sink the part of the graph is looked at that does. There a row that goes two ways is produced
once, and one that goes nowhere is filtered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from dataflow.core.checkpoint import Ledger
from dataflow.core.graph import Feed, Graph, upstream
from dataflow.engine.items import Rows
from dataflow.engine.passed import Passed


class Accounts:
    """Makes the ledgers of one graph's sinks from what each step did with one item."""

    def __init__(self, graph: Graph) -> None:
        self._ways: dict[str, tuple[frozenset[str], Mapping[Feed, int]]] = {}
        for sink in graph.sinks:
            above = frozenset(upstream(graph, graph.feeds[sink]))
            ways = Counter(f for name in (*above, sink) for f in graph.feeds.get(name, ()))
            self._ways[sink] = above, ways

    def ledger(self, sink: str, passed: Mapping[str, Passed]) -> Ledger:
        """Return what one item adds to a sink's ledger, without what the sink itself does.

        A dead letter that is replayed is read once more, by whoever had refused it: also a sink.
        """
        above, ways = self._ways[sink]
        own = ((n, done) for n, done in passed.items() if n in above or n == sink)
        return _sum(ways, own)


def ledger_of(rows: Rows) -> Ledger:
    """Return what rows of a source add to the ledger of a sink that reads it directly."""
    return Ledger(
        records_read=rows.read,
        records_skipped=rows.skipped,
        records_dead_lettered=sum(letters.num_rows for letters in rows.dead),
    )


def _sum(ways: Mapping[Feed, int], steps: Iterable[tuple[str, Passed]]) -> Ledger:
    read = produced = filtered = skipped = absorbed = dead = 0
    for name, done in steps:
        read += done.read
        produced += done.produced
        filtered += done.filtered
        skipped += done.skipped
        absorbed += done.absorbed
        dead += done.dead_count
        for output, rows in done.out.items():
            copies = ways.get(Feed(name, output), 0)
            if copies:
                produced += (copies - 1) * rows
            else:
                filtered += rows
    return Ledger(
        records_read=read,
        records_produced=produced,
        records_filtered=filtered,
        records_skipped=skipped,
        records_absorbed=absorbed,
        records_dead_lettered=dead,
    )
