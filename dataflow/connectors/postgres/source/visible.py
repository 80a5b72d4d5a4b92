"""Which changes the snapshots have shown already, so that the log's are not told again.

A transaction is whole: a snapshot shows all of it or nothing. Where ranges of keys were read in
several snapshots, because reading was broken off, a change belongs to the one of its key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg

from dataflow.connectors.postgres.names import listed, literal
from dataflow.connectors.postgres.source.spec import PostgresPinned, Seen

_HALF = 1 << 31


class Snapshot:
    """What one snapshot shows."""

    def __init__(self, text: str) -> None:
        low, high, running = text.split(":")
        self._low, self._high = int(low), int(high)
        self._running = frozenset(map(int, filter(None, running.split(","))))

    def shows(self, xid: int) -> bool:
        """Tell whether it shows a transaction, by the lower half of its number."""
        distance = (xid - self._high) % (1 << 32)
        whole = self._high + (distance if distance < _HALF else distance - (1 << 32))
        return whole < self._high and whole not in self._running


class Shown:
    """What the snapshots of a lineage have shown.

    Args:
        seen: what was read in which of them; in the order of keys.
        pinned: the columns of the key.
        types: of those columns, as SQL.
        url: of the database, which knows how keys compare.
    """

    def __init__(
        self, seen: Sequence[Seen], pinned: PostgresPinned, types: Mapping[str, str], url: str
    ) -> None:
        self.seen = tuple(sorted(seen, key=lambda one: one.part))
        self._snapshots = [Snapshot(one.snapshot) for one in self.seen]
        self._pinned = pinned
        self._types = types
        self._url = url

    def transaction(self, xid: int) -> Sequence[bool]:
        """Tell which of the snapshots show a transaction."""
        return [snapshot.shows(xid) for snapshot in self._snapshots]

    def parts(self, keys: Sequence[Sequence[str | None]]) -> Sequence[int]:
        """Return in which of the snapshots the rows of some keys were read, or would have been.

        Args:
            keys: the texts of each column of the key.

        Raises:
            psycopg.Error: the database cannot be asked.
        """
        names = [f"k{at}" for at in range(len(keys))]
        types = [self._types[name] for name in self._pinned.keys]
        behind = " + ".join(f"({bound})::int" for bound in self._bounds(names, types)) or "0"
        casts = ", ".join(
            f"t.{name}::{of} AS {name}" for name, of in zip(names, types, strict=True)
        )
        arrays = ", ".join("%s::text[]" for _ in names)
        query = (
            f"SELECT {behind} FROM unnest({arrays}) WITH ORDINALITY AS t ({listed(names)}, at),"  # noqa: S608 - quoted
            f" LATERAL (SELECT {casts}) AS k ORDER BY at"
        )
        with psycopg.connect(self._url, client_encoding="UTF8") as connection:
            found = connection.execute(query.encode(), [list(column) for column in keys])
            return [int(part) for (part,) in found]

    def _bounds(self, names: Sequence[str], types: Sequence[str]) -> Sequence[str]:
        """Return what holds for keys of each part but the first, and of all behind it."""
        found = []
        for one in self.seen[1:]:
            values = [
                f"{literal(text)}::{of}".replace("%", "%%")
                for text, of in zip(one.after, types, strict=False)
            ]
            keys = ", ".join(f"k.{name}" for name in names[: len(one.after)])
            found.append(f"({keys}) > ({', '.join(values)})")
        return found
