"""What an ingest log promises: ``FileLogs`` keep it in a folder, ``KafkaLogs`` in Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dataflow.connect import Log
from dataflow.core.errors import Unavailable
from dataflow.core.ids import PipelineId
from dataflow.engine.ingest.frame import Batch
from dataflow.engine.ingest.pushed import Ingested, IngestOptions, Parse
from dataflow.engine.ingest.window import Taken, Window


class IngestLogs(Protocol):
    """Every pipeline's ingest log, as a node has them.

    A batch is taken once for its id, though several nodes believe that its pipeline is theirs: what
    one of them has not seen, it cannot write behind.
    """

    async def append(
        self,
        pipeline: PipelineId,
        batch_id: str,
        content_type: str,
        payload: bytes,
        *,
        source_options: IngestOptions,
    ) -> Ingested:
        """Take a batch, whole or not at all; durable on return, behind all pushed before it.

        The same id with the same content again gets the first answer, also after a restart, as
        long as the id is among the log's last 10,000.

        Raises:
            Rejected: nothing of the batch is taken; a record or the request must be mended.
            Unavailable: push it again, under the same id. ``BUSY``: nothing is taken, too much
                waits, ``retry_after`` says when. ``STORAGE``: nothing is taken, the disk is full or
                fails. ``OUTCOME_UNKNOWN``: whether it is taken shows when it comes again.
            Corrupted: what is stored is damaged.
        """
        ...

    def log(self, pipeline: PipelineId) -> Log:
        """Return a pipeline's log as its source sees it; nothing is opened yet."""
        ...

    async def remove(self, pipeline: PipelineId) -> None:
        """Delete a log with all its records; nothing happens if there is none.

        Raises:
            Unavailable: ``BUSY`` while it is read or written; ``STORAGE`` if it cannot be deleted.
        """
        ...

    def parse_by(self, parse: Parse) -> None:
        """Have batches parsed elsewhere: a node whose rows are its workers' loads no Arrow."""
        ...

    async def close(self) -> None:
        """Finish what is being written, then release everything."""
        ...


class Lost(Unavailable):
    """What is stored may be more than its store knows of: a write has failed, or others write."""


class LogStore(Protocol):
    """Where one log is kept. Everything blocks, and one thread at a time calls it."""

    @property
    def window(self) -> Window:
        """Return the ids of its last batches."""
        ...

    @property
    def schema(self) -> bytes | None:
        """Return the schema of all records, as Arrow's IPC has it; None before the first."""
        ...

    def open(self) -> None:
        """Find what is there; whoever had the log before cannot write to it any more.

        Raises:
            Corrupted: what was acknowledged is damaged.
            Unavailable: it cannot be read and written.
        """
        ...

    def append(self, batches: Sequence[Batch], schema: bytes) -> Sequence[Taken]:
        """Write batches behind one another, all or none, and return when they are durable.

        Raises:
            Unavailable: nothing of any batch was taken.
            Lost: nobody knows; it has to be opened again BEFORE it is used.
        """
        ...

    def bytes_from(self, offset: int) -> int:
        """Return how many bytes records from ``offset`` on take, about; never blocks."""
        ...

    def forgotten(self) -> int:
        """Look up to where records have been forgotten, whoever did it."""
        ...

    def close(self) -> None:
        """Release it."""
        ...
