"""Opening ``journal.db``: the lock, whose file it is, its schema, and the ends of its logs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from dataflow.core.errors import Code, Corrupted, Rejected, Unavailable
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.contract import check_chain
from dataflow.journal.sqlite import reader, wal
from dataflow.journal.sqlite.check import check_log
from dataflow.journal.sqlite.errors import FAILURES, translate, unusable
from dataflow.journal.sqlite.lock import FolderLock
from dataflow.journal.sqlite.transaction import SQL, index

JOURNAL_FILE = "journal.db"

FOLLOWING = ("views.db", "ingest", "objects")
"""What else a data directory holds. All of it is made AFTER the journal is durable, so a crash
leaves none of it without one: beside any of it, a journal that is not there has been lost."""

APPLICATION_ID = 0x44464A4C
"""ASCII ``DFJL``: what file(1) and other programs see in the header."""

CHECKPOINT_PAGES = 4000
"""16 MB of write-ahead log between copies into the file (measured: 1,000, the default, copied the
same pages more often and cost a fifth of the events a second)."""

CACHE_KIB = 16 * 1024
"""Of the writer; holds the pages that both indexes are filled into."""

MIGRATIONS: Sequence[str] = tuple(
    entry.read_text(encoding="utf-8")
    for entry in sorted(
        files("dataflow.journal.sqlite").joinpath("schema").iterdir(), key=lambda e: e.name
    )
)
"""``schema/0001.sql`` and on, in order; the how-manieth is the version of the schema."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A journal that may be used by this process alone."""

    file: Path
    connection: sqlite3.Connection
    lock: FolderLock


def open_journal(folder: Path) -> Opened:
    """Lock the folder, open or create the journal in it, and check it. See ``Sqlite.open``."""
    lock = FolderLock(folder)
    file = folder / JOURNAL_FILE
    try:
        wal.check(_wal(file))
        _check_length(file)
        connection = _connect(file)
        try:
            _migrated(connection, file, MIGRATIONS)
            connection.execute("BEGIN IMMEDIATE")
            index(connection)
            connection.execute("COMMIT")
            _check_ends(connection, str(file))
            check_log(connection, str(file))
        except BaseException:
            connection.close()
            raise
    except FAILURES as error:
        lock.release()
        raise translate(error, str(file)) from error
    except OSError as error:
        lock.release()
        raise unusable(error, file) from error
    except BaseException:
        lock.release()
        raise
    return Opened(file=file, connection=connection, lock=lock)


def connect_reading(file: Path) -> sqlite3.Connection:
    """Return a connection that cannot write."""
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    try:
        _check_owner(connection, file)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_owner(connection: sqlite3.Connection, file: Path) -> None:
    """Refuse another program's database BEFORE anything in it is changed."""
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if owner != APPLICATION_ID and tables:
        raise Rejected(f"{file} is a database of another program; choose another data directory")
    if not tables:
        # Its header is written before its tables, which at first are in the write-ahead log alone.
        _check_never_used(file, FOLLOWING)


def _migrated(connection: sqlite3.Connection, file: Path, migrations: Sequence[str]) -> None:
    """Bring the schema to the latest version, each step in a transaction of its own."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise Rejected(
            f"{file} was written by a newer program (schema {version}; this one knows"
            f" {len(migrations)}); install that one"
        )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for number, migration in enumerate(migrations[version:], start=version + 1):
        step = f"BEGIN IMMEDIATE; {migration}; PRAGMA user_version = {number}; COMMIT;"
        connection.executescript(step)


def _wal(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _check_length(file: Path) -> None:
    """Tell a file that was cut apart from one that is damaged: SQLite says the same of both."""
    if file.is_dir():
        raise Unavailable(
            f"{file} is a folder; put the journal in its place, or choose another data directory",
            code=Code.STORAGE,
        )
    ahead = _wal(file)
    if not file.exists() or not file.stat().st_size:
        # BEFORE SQLite opens it, which removes a write-ahead log that has no file. A first start
        # makes the file's header durable before it makes that log.
        _check_never_used(file, (ahead.name, *FOLLOWING))
        return
    if ahead.exists() and ahead.stat().st_size:
        return  # What the file lacks may be in the write-ahead log.
    with file.open("rb") as opened:
        header = opened.read(100)
    size, page = file.stat().st_size, int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    wanted = pages * (65536 if page == 1 else page)
    if size < max(wanted, len(header), 100):
        raise Corrupted(
            f"{file} was cut: it has {size} bytes of {max(wanted, 100)}; restore it from a backup"
        )


def _check_never_used(file: Path, names: Sequence[str]) -> None:
    """Refuse to begin a journal where one has been: it would deny what the others speak of."""
    for path in (file.with_name(name) for name in names):
        if any(path.iterdir()) if path.is_dir() else path.exists() and path.stat().st_size:
            raise Corrupted(
                f"{file} is {'empty' if file.exists() else 'missing'}, yet {path} is there: the"
                " journal was lost; restore the data directory from a backup, or choose another"
                " one to begin anew"
            )


def _check_ends(connection: sqlite3.Connection, file: str) -> None:
    """Check that each log ends where its shard's row says, in an undamaged record."""
    for shard, _, _, offset, head, _ in connection.execute(SQL["ends"]).fetchall():
        if offset == 0:
            continue
        before = Offset(offset - 1)
        previous = reader.hash_at(connection, file, ShardId(shard), before)
        tail = reader.page(connection, file, ShardId(shard), before)
        problem = check_chain(previous, before, tail) if tail else f"record {offset} is missing"
        if not problem and (len(tail), tail[-1].hash) != (1, head):
            problem = f"record {offset} is not the end that was acknowledged"
        if problem:
            raise Corrupted(f"{file}, shard {shard}: {problem}; restore it from a backup")
