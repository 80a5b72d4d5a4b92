"""Where the example sinks write, and how to see what is there."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from dataflow.connect import IdempotentSink, StagingSink, TransactionalSink
from dataflow.connect.testkit import SinkPlace, ids_in
from tests.contract.connect.examples.arrow_files import STAGING, ArrowFiles, StagedFile
from tests.contract.connect.examples.keyed import Keyed
from tests.contract.connect.examples.sqlite_table import SqliteTable

ArrowFilesKind = Callable[[Path, Callable[[str], None]], ArrowFiles]
SqliteTableKind = Callable[[Path, str, Callable[[str], None]], SqliteTable]
KeyedKind = Callable[[Path, Callable[[str], None]], Keyed]


def ids_of_files(folder: Path) -> list[int]:
    """Return the ids that readers of a directory of Arrow files see."""
    return [
        row
        for path in sorted(folder.glob("*.arrow"))
        for row in ids_in(pa.ipc.open_file(path.read_bytes()).read_all())
    ]


def ids_of_table(path: Path) -> list[int]:
    """Return the ids that readers of a table see."""
    with closing(sqlite3.connect(path)) as db:
        known = db.execute("SELECT name FROM sqlite_master WHERE name = 'rows'").fetchall()
        return [row[0] for row in db.execute("SELECT id FROM rows")] if known else []


def ids_of_keyed(path: Path) -> list[int]:
    """Return the ids that readers of keyed rows see."""
    with closing(sqlite3.connect(path)) as db:
        known = db.execute("SELECT name FROM sqlite_master WHERE name = 'keyed'").fetchall()
        found = db.execute("SELECT row FROM keyed").fetchall() if known else []
        return [json.loads(row)["id"] for (row,) in found]


class ArrowFilesPlace(SinkPlace[StagingSink[StagedFile]]):
    """A directory."""

    def __init__(self, folder: Path, kind: ArrowFilesKind = ArrowFiles) -> None:
        self._folder = folder
        self._kind = kind

    def sink(self, probe: Callable[[str], None]) -> ArrowFiles:
        return self._kind(self._folder, probe)

    def visible(self) -> Sequence[int]:
        return ids_of_files(self._folder)

    def litter(self) -> Sequence[str]:
        return sorted(path.name for path in (self._folder / STAGING).glob("*"))


class SqliteTablePlace(SinkPlace[TransactionalSink]):
    """A database of one table."""

    def __init__(self, folder: Path, kind: SqliteTableKind = SqliteTable) -> None:
        folder.mkdir()
        self._path = folder / "rows.db"
        self._kind = kind

    def sink(self, probe: Callable[[str], None]) -> SqliteTable:
        return self._kind(self._path, "rows", probe)

    def visible(self) -> Sequence[int]:
        return ids_of_table(self._path)

    async def kill(self, sink: TransactionalSink) -> None:
        assert isinstance(sink, SqliteTable)
        sink._thread.shutdown(wait=True)
        sink._db.close()


class KeyedPlace(SinkPlace[IdempotentSink]):
    """A database of rows by key."""

    def __init__(self, folder: Path, kind: KeyedKind = Keyed) -> None:
        folder.mkdir()
        self._path = folder / "keyed.db"
        self._kind = kind

    def sink(self, probe: Callable[[str], None]) -> Keyed:
        return self._kind(self._path, probe)

    def visible(self) -> Sequence[int]:
        return ids_of_keyed(self._path)
