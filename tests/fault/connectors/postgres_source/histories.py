"""Lives of the program over a table and its log -> a table, files, a topic, ended by ``kill -9``.

``python -m tests.fault.connectors.postgres_source.histories --kills 100`` runs a long one.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.stack import shared
from deploy.stack.postgres import Postgres
from tests.databases import Database, database_of
from tests.fault.connectors.lives import live
from tests.integration.connectors.kafka.places import new_topic, values

Change = tuple[str, int]
"""Operation and key."""

PER_TRANSACTION = 400
BATCH = 200
"""Rows; so small that reading the table takes more than a life."""

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
        url = self.database.url
        options = {"checkpointInterval": "200ms", "backoffInitial": "50ms", "maxAttempts": 1000}
        bare = {"table": "t", "lsnColumn": "", "timeColumn": ""}
        upsert = {"table": "copy", "mode": "upsert", "keys": ["id"], "deleteColumn": "op"}
        return {
            "copy": {
                "source": {
                    "sourceType": "postgres",
                    "connectionString": url,
                    "options": bare,
                    "batchSize": BATCH,
                },
                "sink": {"sinkType": "postgres", "connectionString": url, "options": upsert},
                "options": options,
            },
            "history": self._to_file(self._by_slot("history"), "history", options),
            "whole": self._to_file({"snapshotRanges": 2}, "whole", options),
            **({"topic": self._to_topic(options)} if self.broker else {}),
        }

    def _slot(self, name: str) -> str:
        return f"{name}_{self.database.name}"

    def _by_slot(self, name: str) -> Mapping[str, Any]:
        return {"snapshot": False, "slot": self._slot(name), "createSlot": False}

    def _to_topic(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        to = {"topic": self.topic, "keyColumn": "id", "idPrefix": self.topic}
        return {
            **self._to_file(self._by_slot("topic"), "", options),
            "sink": {"sinkType": "kafka", "connectionString": self.broker, "options": to},
        }

    def _to_file(
        self, read: Mapping[str, Any], name: str, options: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        return {
            "source": {
                "sourceType": "postgres",
                "connectionString": self.database.url,
                "options": {"table": "t", **read},
                "batchSize": BATCH,
            },
            "sink": {"sinkType": "file", "connectionString": f"{self.folder}/{name}.jsonl"},
            "options": options,
        }

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

    def problems(self) -> Sequence[str]:
        """Return what is wrong with what independent readers see now."""
        problems = [] if self._copied() else ["the copy differs"]
        problems += self._differs_whole()
        problems += self._differs("history", self._lines("history"))
        if self.broker:
            problems += self._differs("topic", values(self.broker, self.topic))
        return problems

    def _differs(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Sequence[str]:
        """Return what is wrong with changes, transaction by transaction."""
        found: dict[int, list[Change]] = {}
        for row in rows:
            found.setdefault(row["lsn"], []).append((row["op"], row["id"]))
        problems = [] if [*found] == sorted(found) else [f"{name}: transactions out of order"]
        if [sorted(changes) for changes in found.values()] != self.made:
            problems.append(f"{name}: the history differs")
        return problems

    def _copied(self) -> bool:
        query = "SELECT id, version, name FROM {} ORDER BY id"
        return self.database.fetch(query.format("t")) == self.database.fetch(query.format("copy"))

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
        rows = self.database.fetch("SELECT id, version, name FROM t")
        same = table == {key: (version, name) for key, version, name in rows}
        return [] if same else ["the table and its changes differ"]

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        return map(json.loads, (self.folder / f"{name}.jsonl").read_text().splitlines())


def _array(keys: Sequence[int]) -> str:
    return "{" + ",".join(map(str, keys)) + "}"


def main() -> None:
    """Run one history, and say what came of it."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--transactions", type=int, default=20, help="in each life")
    arguments.add_argument("--before", type=int, default=100_000, help="rows in the table")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--server-every", type=int, default=0, help="kill the server, too")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        own = Postgres(Path(folder) / "postgres") if given.server_every else None
        with (
            own or nullcontext(),
            database_of(own.address if own else shared("postgres")) as database,
        ):
            mirror = Mirror(database, Path(folder), given.seed, given.before, shared("kafka"))

            def disturb(life: int) -> None:
                mirror.change(given.transactions)
                if own is not None and life % given.server_every == 0:
                    database.forget()
                    own.kill()
                    own.start()

            problems = live(mirror, given.seed, given.kills, disturb)
            changes = sum(map(len, mirror.made))
    sys.stdout.write("\n".join(problems) or f"{changes} changes: 0 lost, 0 twice\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
