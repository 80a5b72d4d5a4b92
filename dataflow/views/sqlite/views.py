"""``Sqlite``: the writing thread, and the queries."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from dataflow.core.errors import Corrupted, Unavailable
from dataflow.core.ids import Offset, PipelineId, ShardId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.state import Status
from dataflow.journal.sqlite.file import connect_reading
from dataflow.journal.sqlite.reader import Reader
from dataflow.views.contract import Entry, Projected, Query, Summary
from dataflow.views.sqlite.file import SQL, VIEWS_FILE, damaged, open_views
from dataflow.views.sqlite.writer import EPOCH, MICROSECOND, Writer

INTEGER_MAX = (1 << 63) - 1
"""SQLite's largest: a bound that bounds nothing."""

P = ParamSpec("P")
T = TypeVar("T")


class Sqlite:
    """``Views`` in ``views.db`` of a folder whose journal this process has open."""

    def __init__(
        self, file: Path, connection: sqlite3.Connection, applied: Mapping[ShardId, Offset]
    ) -> None:
        """Take over what ``open_views`` returned; use ``Sqlite.open``."""
        self._file = file
        self._applied = applied
        self._writer = Writer(connection, file)
        self._reader = Reader(file, connect_reading)
        self._closed = False

    @classmethod
    async def open(cls, folder: Path) -> Sqlite:
        """Open or create the views in ``folder``; damaged or old ones begin anew.

        Raises:
            Unavailable: the file cannot be written.
        """
        connection, applied = await asyncio.to_thread(open_views, folder)
        return cls(folder / VIEWS_FILE, connection, applied)

    def apply(self, batch: Sequence[Projected]) -> None:
        """See ``Views.apply``."""
        self._writer.apply(batch)

    async def settled(self, shard: ShardId | None = None) -> None:  # noqa: ARG002 - one transaction
        """See ``Views.settled``."""
        self._check_open()
        await self._writer.settled()

    async def applied_offset(self, shard: ShardId) -> Offset:
        """See ``Views.applied_offset``."""
        return self._applied.get(shard, Offset(0))

    async def pipelines(self, query: Query) -> tuple[Sequence[Summary], int]:
        """See ``Views.pipelines``."""
        self._check_open()
        label, equals, value = query.label.partition("=")
        given = {
            "after": query.after,
            "status": query.status or "",
            "label": label,
            "any_value": not equals,
            "value": value,
            "text": query.text.casefold(),
            "limit": query.limit,
        }
        return await self._run(_pipelines, given)

    async def events(
        self, pipeline: PipelineId, types: Collection[str], after: SequenceNumber, limit: int
    ) -> Sequence[Entry]:
        """See ``Views.events``."""
        self._check_open()
        given = {"pipeline": pipeline, "types": json.dumps(sorted(types)), "after": after}
        return await self._run(_entries, "events", {**given, "limit": limit})

    async def versions(self, pipeline: PipelineId, before: Version, limit: int) -> Sequence[Entry]:
        """See ``Views.versions``."""
        self._check_open()
        given = {"pipeline": pipeline, "before": before, "limit": limit}
        return await self._run(_entries, "versions", given)

    async def latest(
        self, pipeline: PipelineId, types: Collection[str], until: SequenceNumber | datetime
    ) -> Entry | None:
        """See ``Views.latest``."""
        self._check_open()
        sequence, time_us = INTEGER_MAX, INTEGER_MAX
        if isinstance(until, datetime):
            time_us = (until - EPOCH) // MICROSECOND
        else:
            sequence = until
        given = {
            "pipeline": pipeline,
            "types": json.dumps(sorted(types)),
            "sequence": sequence,
            "time_us": time_us,
        }
        found = await self._run(_entries, "latest", given)
        return found[0] if found else None

    async def close(self) -> None:
        """See ``Views.close``."""
        if self._closed:
            return
        self._closed = True
        await self._reader.close()
        await self._writer.close()

    async def _run(
        self,
        read: Callable[Concatenate[sqlite3.Connection, str, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Read; a file that turns out to be damaged is built again at the next start."""
        try:
            return await self._reader.run(read, *args, **kwargs)
        except Corrupted as error:
            raise damaged(self._file) from error

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the views are closed")


def _pipelines(
    connection: sqlite3.Connection, file: str, given: Mapping[str, object]
) -> tuple[Sequence[Summary], int]:
    """Count and list in one transaction, so that the page fits the total."""
    connection.execute("BEGIN")
    try:
        (total,) = connection.execute(SQL["total"], given).fetchone()
        found = connection.execute(SQL["pipelines"], given).fetchall()
    finally:
        connection.execute("COMMIT")
    return _made(_summary, found, file), total


def _entries(
    connection: sqlite3.Connection, file: str, statement: str, given: Mapping[str, object]
) -> Sequence[Entry]:
    return _made(_entry, connection.execute(SQL[statement], given).fetchall(), file)


def _made(make: Callable[..., T], found: Sequence[Sequence[Any]], file: str) -> Sequence[T]:
    """Return what rows mean; SQLite has no checksums, so a damaged one shows only here.

    Raises:
        Corrupted: a row holds what was never written.
    """
    try:
        return [make(*row) for row in found]
    except (OverflowError, TypeError, ValueError) as error:
        raise Corrupted(f"{file}: {error}") from error


def _summary(  # noqa: PLR0917 - the columns of the statement, in its order
    pipeline_id: str,
    name: str,
    status: str,
    labels: str,
    source_type: str,
    sink_type: str,
    version: int,
    created_us: int,
    updated_us: int,
) -> Summary:
    return Summary(
        pipeline_id=PipelineId(pipeline_id),
        name=name,
        status=Status(status),
        labels=json.loads(labels),
        source_type=source_type,
        sink_type=sink_type,
        version=Version(version),
        created_at=EPOCH + created_us * MICROSECOND,
        updated_at=EPOCH + updated_us * MICROSECOND,
    )


def _entry(  # noqa: PLR0917 - the columns of the statement, in its order
    pipeline: str, sequence: int, type_: str, time_us: int, version: int, shard: int, offset: int
) -> Entry:
    return Entry(
        pipeline_id=PipelineId(pipeline),
        sequence=SequenceNumber(sequence),
        type=type_,
        time=EPOCH + time_us * MICROSECOND,
        version=Version(version),
        shard=ShardId(shard),
        offset=Offset(offset),
    )
