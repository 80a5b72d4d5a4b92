"""Opening ``views.db``; whatever is not exactly ours is thrown away, for the journal has it all."""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from pathlib import Path

from dataflow.core.errors import Code, Corrupted, Rejected, Unavailable
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.sqlite.errors import FAILURES, translate
from dataflow.journal.statements import load

VIEWS_FILE = "views.db"

VERSION = 1
"""Of ``schema.sql`` and of what is written into it: a view that comes to mean something else needs
another version, too, for old rows are never mended."""

CHECKPOINT_PAGES = 4000
"""As the journal's, and for the same reason."""

SQL = load("dataflow.views.sqlite", "views.sql")
SCHEMA = files("dataflow.views.sqlite").joinpath("schema.sql").read_text(encoding="utf-8")


def open_views(folder: Path) -> tuple[sqlite3.Connection, dict[ShardId, Offset]]:
    """Open or create the views in ``folder``, and return how far each shard was applied.

    Raises:
        Unavailable: the file cannot be written.
        Rejected: it is another program's.
    """
    file = folder / VIEWS_FILE
    try:
        return _opened(file)
    except Corrupted:
        discard(file)
        return _opened(file)


def _opened(file: Path) -> tuple[sqlite3.Connection, dict[ShardId, Offset]]:
    try:
        connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise translate(error, str(file)) from error
    try:
        version = _checked_version(connection, file)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        if version == 0:
            connection.executescript(
                f"BEGIN IMMEDIATE; {SCHEMA}; PRAGMA user_version = {VERSION}; COMMIT;"
            )
        found = connection.execute(SQL["applied"]).fetchall()
    except FAILURES as error:
        connection.close()
        raise translate(error, str(file)) from error
    except (Corrupted, Rejected):
        connection.close()
        raise
    return connection, {ShardId(shard): Offset(offset) for shard, offset in found}


def _checked_version(connection: sqlite3.Connection, file: Path) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if version == 0 and tables:
        raise Rejected(f"{file} is a database of another program; choose another data directory")
    if version not in (0, VERSION):
        raise Corrupted(f"{file} is of version {version}, not {VERSION}")
    return int(version)


def damaged(file: Path) -> Unavailable:
    """Discard a file that was found damaged, and return what whoever met it shall be told.

    What SQLite said is left to the cause: it names a backup, which nobody needs here.

    Raises:
        Unavailable: it cannot be removed.
    """
    discard(file)
    return Unavailable(
        f"{file} is damaged; restart the program: the file is then built again, and nothing is"
        " lost",
        code=Code.STORAGE,
    )


def discard(file: Path) -> None:
    """Remove a file that is no good; who has it open keeps what they see, the next start is new.

    Raises:
        Unavailable: it cannot be removed.
    """
    try:
        for part in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
            part.unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(f"{file}: {error.strerror}; remove it", code=Code.STORAGE) from error
