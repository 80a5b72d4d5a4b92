"""A table and its log -> tables, a file, a topic, through whose pipelines the program is killed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.databases import Database
from tests.fault.connectors.lives import Seen, differences
from tests.integration.connectors.kafka.places import new_topic, values

Change = tuple[str, int]
"""Operation and key."""

PER_TRANSACTION = 400
BATCH = 200
"""Rows; so small that reading the table takes more than a life."""

OPTIONS = {"checkpointInterval": "200ms", "backoffInitial": "50ms", "maxAttempts": 1000}

TRANSACTION = """
BEGIN;
INSERT INTO t SELECT i, {number}, 'row ' || i FROM generate_series({first}, {last}) i;
UPDATE t SET version = {number} WHERE id = ANY ('{updated}');
DELETE FROM t WHERE id = ANY ('{deleted}');
UPDATE t SET id = new FROM (VALUES {pairs}) AS moved (old, new) WHERE id = old;
COMMIT"""


@dataclass
class Mirror:
    """A table, a copy of it, and the history of its changes."""

    database: Database
    folder: Path
    seed: int
    transactions: int
    """In each life."""
    before: int = 0
    """Rows that are there before anything is read."""
    broker: str = ""
    """Where the history goes, too; empty for nowhere."""
    made: list[list[Change]] = field(default_factory=list)
    """What each transaction has done, in the order of their commits."""
    _keys: list[int] = field(default_factory=list)
    _next: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self.topic = new_topic(self.broker) if self.broker else ""
        self.database.execute(
            "CREATE TABLE t (id int PRIMARY KEY, version int, name text);"  # noqa: S608 - numbers
            "CREATE TABLE copy (id int PRIMARY KEY, version int, name text);"
            "CREATE TABLE history"
            " (n bigserial, id int, version int, name text, op text, lsn bigint);"
            f"INSERT INTO t SELECT i, -1, 'row ' || i FROM generate_series({-self.before}, -1) i"
        )
        for name in (
            ("history", "topic") if self.broker else ("history",)
        ):  # BEFORE any change, however late a pipeline begins.
            self.database.execute(f"CREATE PUBLICATION {self._slot(name)} FOR TABLE t")
            self.database.fetch(
                f"SELECT pg_create_logical_replication_slot('{self._slot(name)}', 'pgoutput')"
            )
        self._keys = [*range(-self.before, 0)]

    def specs(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the pipelines by their ids."""
        bare = {"lsnColumn": "", "timeColumn": ""}
        upsert = {"table": "copy", "mode": "upsert", "keys": ["id"], "deleteColumn": "op"}
        file = {"sinkType": "file", "connectionString": f"{self.folder}/whole.jsonl"}
        found = {
            "copy": self._pipeline(bare, self._to_table(upsert)),
            "history": self._pipeline(
                self._by_slot("history") | {"timeColumn": ""},
                self._to_table({"table": "history"}),
            ),
            "whole": self._pipeline({"snapshotRanges": 2}, file),
        }
        if self.broker:
            found["topic"] = self._pipeline(self._by_slot("topic"), self._to_topic())
        return found

    def _slot(self, name: str) -> str:
        return f"{name}_{self.database.name}"

    def _by_slot(self, name: str) -> dict[str, Any]:
        return {"snapshot": False, "slot": self._slot(name), "createSlot": False}

    def _to_table(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        url = self.database.url
        return {"sinkType": "postgres", "connectionString": url, "options": options}

    def _to_topic(self) -> Mapping[str, Any]:
        to = {"topic": self.topic, "keyColumn": "id", "idPrefix": self.topic}
        return {"sinkType": "kafka", "connectionString": self.broker, "options": to}

    def _pipeline(self, read: Mapping[str, Any], sink: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "source": {
                "sourceType": "postgres",
                "connectionString": self.database.url,
                "options": {"table": "t", **read},
                "batchSize": BATCH,
            },
            "sink": sink,
            "options": OPTIONS,
        }

    def feed(self, url: str) -> None:
        """Change the table."""
        self.change(self.transactions)
        self.database.forget()  # The server may be about to end.

    def change(self, transactions: int) -> None:
        """Commit some transactions of insertions, updates, changed keys and deletions."""
        for _ in range(transactions):
            number = len(self.made)
            born = [*range(self._next, self._next + PER_TRANSACTION)]
            self._next += 2 * PER_TRANSACTION
            drawn = self._random.sample(self._keys, min(len(self._keys), PER_TRANSACTION // 2))
            third = len(drawn) // 3
            updated, moved, deleted = drawn[:third], drawn[third : 2 * third], drawn[2 * third :]
            to = [*range(born[-1] + 1, born[-1] + 1 + len(moved))]
            moves = zip(moved, to, strict=True)
            pairs = ", ".join(
                ["(NULL::int, NULL::int)", *(f"({old}, {new})" for old, new in moves)]
            )
            self.database.execute(
                TRANSACTION.format(
                    number=number,
                    first=born[0],
                    last=born[-1],
                    updated=_array(updated),
                    deleted=_array(deleted),
                    pairs=pairs,
                )
            )
            gone = {*moved, *deleted}
            self._keys = [key for key in self._keys if key not in gone] + born + to
            self.made.append(
                sorted(
                    [*(("c", key) for key in born + to), *(("u", key) for key in updated)]
                    + [("d", key) for key in gone]
                )
            )

    def is_done(self, shown: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether everything has come to its end, from what the pipelines show."""
        changes = sum(map(len, self.made))
        histories = [shown[1], *shown[3:]]
        done = all(int(one["metrics"]["totalRecordsProcessed"]) >= changes for one in histories)
        return done and self._copied() and not self._differs_whole()

    def endless(self) -> Sequence[str]:
        """Name the pipelines that have to be stopped."""
        return [*self.specs()]

    def seen(self) -> Sequence[Seen]:
        """Return what independent readers see now."""
        changes = sum(map(len, self.made))
        copied = [] if self._copied() else ["the copy differs"]
        history = self.database.witnessed("SELECT lsn, op, id FROM history ORDER BY n")
        found = [
            Seen("PostgreSQL -> PostgreSQL, upserts", changes + self.before, copied),
            Seen("PostgreSQL -> PostgreSQL, inserts", len(history), self._differs(history)),
            Seen("PostgreSQL -> file", changes + self.before, self._differs_whole()),
        ]
        if self.broker:
            told = values(self.broker, self.topic)
            rows = [(row["lsn"], row["op"], row["id"]) for row in told]
            found.append(Seen("PostgreSQL -> Kafka", len(rows), self._differs(rows)))
        return found

    def _differs(self, rows: Sequence[tuple[int, str, int]]) -> Sequence[str]:
        """Return what is wrong with changes, transaction by transaction."""
        found: dict[int, list[Change]] = {}
        for lsn, operation, key in rows:
            found.setdefault(lsn, []).append((operation, key))
        problems = [] if [*found] == sorted(found) else ["transactions out of order"]
        made = [(number, *one) for number, ones in enumerate(self.made) for one in ones]
        told = [(number, *one) for number, ones in enumerate(found.values()) for one in ones]
        return [*problems, *differences(told, made)]

    def _copied(self) -> bool:
        query = "SELECT id, version, name FROM {} ORDER BY id"
        table, copy = (self.database.witnessed(query.format(name)) for name in ("t", "copy"))
        return table == copy

    def _differs_whole(self) -> Sequence[str]:
        """Return what is wrong with the rows of the table and their changes, one by one."""
        table: dict[int, tuple[int, str]] = {}
        try:
            for line in self._lines("whole"):
                key, is_new = line["id"], line["op"] in {"r", "c"}
                if is_new == (key in table):
                    return [f"{line['op']} of {key} does not follow from what was before"]
                if line["op"] == "d":
                    del table[key]
                else:
                    table[key] = line["version"], line["name"]
        except ValueError:
            return ["a line is half written"]
        rows = self.database.witnessed("SELECT id, version, name FROM t")
        same = table == {key: (version, name) for key, version, name in rows}
        return [] if same else ["the table and its changes differ"]

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        return map(json.loads, (self.folder / f"{name}.jsonl").read_text().splitlines())


def _array(keys: Sequence[int]) -> str:
    return "{" + ",".join(map(str, keys)) + "}"
