"""A log to push to and to read, as tests need it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import orjson
import pyarrow as pa

from dataflow.connect import Log
from dataflow.core.ids import PipelineId
from dataflow.engine.ingest import FileLogs, Ingested, IngestLogs
from dataflow.engine.processes.followed import FollowedLog, answer_log
from dataflow.engine.processes.messages import Answer, CutLog, FollowLog, Question

A = TypeVar("A", bound=Answer)

PIPELINE = PipelineId("p")
NDJSON = "application/x-ndjson"
BUFFER_BYTES = 1 << 40


@dataclass(frozen=True)
class Options:
    """What a pipeline allows."""

    types: Mapping[str, str] = field(default_factory=dict)
    buffer_bytes: int = BUFFER_BYTES


def lines(*numbers: int) -> bytes:
    """Return records as NDJSON."""
    return b"\n".join(orjson.dumps({"n": n, "text": f"record {n}"}) for n in numbers)


def numbers_of(batch: pa.RecordBatch) -> list[int]:
    """Return the field ``n`` of every record."""
    return [row["n"] for row in batch.to_pylist()]


class AnyPushing(ABC):
    """Pushes to one pipeline of some logs, and reads it."""

    logs: IngestLogs

    @property
    @abstractmethod
    def log(self) -> Log:
        """Return the log as its source sees it."""

    @abstractmethod
    def _opened(self) -> IngestLogs:
        """Return the logs, as after a restart."""

    async def push(
        self, batch_id: str, *numbers: int, buffer_bytes: int = BUFFER_BYTES
    ) -> Ingested:
        """Push records."""
        return await self.send(batch_id, lines(*numbers), NDJSON, buffer_bytes=buffer_bytes)

    async def send(
        self,
        batch_id: str,
        payload: bytes,
        content_type: str = NDJSON,
        *,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> Ingested:
        """Push a payload."""
        allowed = Options(buffer_bytes=buffer_bytes)
        return await self.logs.append(
            PIPELINE, batch_id, content_type, payload, source_options=allowed
        )

    async def numbers(self, start: int = 0) -> list[int]:
        """Return the field ``n`` of the records from an offset to the end."""
        return [n async for batch in self.batches(start) for n in numbers_of(batch)]

    async def batches(self, start: int = 0) -> AsyncIterator[pa.RecordBatch]:
        """Yield what is there from an offset on, and stop at the end."""
        end = await self.log.end()
        if start == end:
            return
        async with aclosing(self.log.read(start)) as batches:
            async for found in batches:
                assert found.next_offset == start + found.batch.num_rows
                start = found.next_offset
                yield found.batch
                if start >= end:
                    return

    async def reopen(self) -> None:
        """Close everything, and open it again."""
        await self.logs.close()
        self.logs = self._opened()


class Pushing(AnyPushing):
    """Logs in a folder, read here or as in a worker process."""

    logs: FileLogs

    def __init__(self, root: Path, *, followed: bool = False, **limits: int) -> None:
        self.root = root
        self.followed = followed
        self.limits = limits
        self.logs = self._opened()

    def _opened(self) -> FileLogs:
        return FileLogs(self.root, **self.limits)

    @property
    def log(self) -> Log:
        """Return the log as its source sees it, here or in a worker process."""
        return FollowedLog(self._ask, PIPELINE) if self.followed else self.logs.log(PIPELINE)

    async def _ask(self, question: Question, kind: type[A]) -> A:
        assert isinstance(question, FollowLog | CutLog)
        answer = await answer_log(self.logs, question)
        assert isinstance(answer, kind)
        return answer

    @property
    def folder(self) -> Path:
        """Return where the segments are."""
        return self.root / PIPELINE

    @property
    def segments(self) -> list[Path]:
        """Return the segment files in their order."""
        return sorted(self.folder.glob("*.log"))
