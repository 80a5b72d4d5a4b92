"""Records that a step could not handle: staged with a checkpoint, kept when it is decided.

An object a checkpoint, in the object store: ``deadletters/<pipeline>/staged/<name>`` until the
decision, then ``deadletters/<pipeline>/kept/<name>``, where the name is number, run and count of
letters. Recovery moves what was decided again and drops what was not, so no letter is lost or
listed twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from dataflow.core.errors import Rejected
from dataflow.core.ids import PipelineId, Run
from dataflow.engine.objects import Objects
from dataflow.engine.records import DeadLetter

if TYPE_CHECKING:
    import pyarrow as pa

DIGITS = 20
"""Of a number in a key, so that keys sort as numbers do."""

PLACE = re.compile(rf"\d{{{DIGITS}}}-\d{{{DIGITS}}}-\d{{1,18}}/\d{{1,18}}", re.ASCII)
"""Where a page begins: the name of an object that is kept, and a row of it."""


class DeadLetters:
    """The dead letters of one pipeline."""

    def __init__(self, objects: Objects, pipeline: PipelineId) -> None:
        self._objects = objects
        self._root = f"deadletters/{pipeline}"

    async def stage(self, run: Run, number: int, batches: Sequence[pa.RecordBatch]) -> str:
        """Keep letters (``rejects.LETTERS``) until they are decided; returns what to commit."""
        if not batches:
            return ""
        rows = sum(batch.num_rows for batch in batches)
        name = f"{number:0{DIGITS}}-{run:0{DIGITS}}-{rows}"
        await self._objects.put(f"{self._root}/staged/{name}", _encode(batches))
        return name

    async def commit(self, staged: str) -> None:
        """Let decided letters be seen; again is no harm."""
        if staged:
            await self._objects.move(f"{self._root}/staged/{staged}", f"{self._root}/kept/{staged}")

    async def discard(self, run: Run) -> None:
        """Drop what older runs staged and nobody decided."""
        stale = [
            key
            for key in await self._objects.keys(f"{self._root}/staged")
            if int(key.rpartition("/")[2].split("-")[1]) < run
        ]
        await self._objects.delete(stale)

    async def count(self) -> int:
        """Return how many letters there are."""
        return sum(_rows(key) for key in await self._objects.keys(f"{self._root}/kept"))

    async def page(self, after: str, limit: int) -> tuple[Sequence[DeadLetter], str]:
        """Return letters behind ``after`` (``<object>/<row>``), and where the next page begins.

        Raises:
            Rejected: ``after`` is no such place.
        """
        if after and not PLACE.fullmatch(after):
            raise Rejected("is not a token of this list; take nextPageToken", field="pageToken")
        name, _, row = after.partition("/")
        skip = int(row or 0)
        found: list[DeadLetter] = []
        for key in await self._objects.keys(f"{self._root}/kept"):
            current = key.rpartition("/")[2]
            if current < name:
                continue
            begin = skip if current == name else 0
            letters = _decode(await self._objects.get(key))
            room = limit - len(found)
            found += letters[begin : begin + room]
            if begin + room < len(letters):
                return found, f"{current}/{begin + room}"
        return found, ""


def _rows(key: str) -> int:
    return int(key.rpartition("-")[2])


def _encode(batches: Sequence[pa.RecordBatch]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - never at start-up

    sink = BytesIO()
    with pa.ipc.new_file(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


def _decode(payload: bytes) -> list[DeadLetter]:
    import pyarrow as pa  # noqa: PLC0415 - never at start-up

    table = pa.ipc.open_file(BytesIO(payload)).read_all()
    return [DeadLetter(**row) for row in table.to_pylist()]
