"""Dead letters that somebody has asked to be replayed, until a run has done so.

An object a request, ``deadletters/<pipeline>/replays/<name>``, made at once or not at all. Its
entries are what enters the graph together: rows of the same columns, by one input of one step. To
a run it is a source that no step has: an entry is a split of it, read to its end when its rows
are decided. The name has a digest of the content, so that one name is never two contents: what a
decision says of a split is true of every object that will ever have the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import xxhash

from dataflow.core.checkpoint import DEAD_LETTERS
from dataflow.core.ids import PipelineId, SplitId
from dataflow.engine.dead_letters import letters_root
from dataflow.engine.objects import Objects

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = f"{DEAD_LETTERS}::"
"""Of the names of the splits."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Rows that enter at one input of one step; a source's and a sink's input has no name.

    ``splits`` and ``ordinals`` name the records that they were, ``letters`` those that they are.
    """

    step: str
    input: str
    letters: Sequence[str]
    splits: Sequence[str]
    ordinals: Sequence[int]
    rows: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that no run has fulfilled yet."""

    name: str
    entries: Sequence[Entry]

    @property
    def splits(self) -> Sequence[SplitId]:
        """Return the split that each of the entries is."""
        return [SplitId(f"{PREFIX}{self.name}/{index}") for index in range(len(self.entries))]

    @property
    def letters(self) -> Sequence[str]:
        """Return all its letters."""
        return [letter for entry in self.entries for letter in entry.letters]


class Replays:
    """The replays of one pipeline."""

    def __init__(self, objects: Objects, pipeline: PipelineId) -> None:
        self._objects = objects
        self._root = f"{letters_root(pipeline)}/replays"

    async def names(self) -> Sequence[str]:
        """Return the names of those that no run has fulfilled yet."""
        return [key.rpartition("/")[2] for key in await self._objects.keys(self._root)]

    async def of_request(self, request: str) -> Asked | None:
        """Return what a request has led to, if it is still there."""
        begin = f"{_digest(request)}-"
        name = next((name for name in await self.names() if name.startswith(begin)), None)
        return await self.get(name) if name is not None else None

    async def ask(self, request: str, entries: Sequence[Entry]) -> Asked:
        """Keep a request; again is no harm."""
        payload = _encode(entries)
        asked = Asked(f"{_digest(request)}-{xxhash.xxh3_128_hexdigest(payload)}", entries)
        await self._objects.put(f"{self._root}/{asked.name}", payload)
        return asked

    async def get(self, name: str) -> Asked:
        """Return one of them."""
        return Asked(name, _decode(await self._objects.get(f"{self._root}/{name}")))

    async def forget(self, name: str) -> None:
        """Forget one that is fulfilled."""
        await self._objects.delete([f"{self._root}/{name}"])


def name_of(split: str) -> str:
    """Return the name of the replay that a split is of; empty if it is of none."""
    return split.removeprefix(PREFIX).partition("/")[0] if split.startswith(PREFIX) else ""


def _digest(request: str) -> str:
    return xxhash.xxh3_128_hexdigest(request.encode())


def _encode(entries: Sequence[Entry]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - never at start-up

    from dataflow.engine.rejects import stream_of  # noqa: PLC0415 - imports Arrow

    columns: dict[str, pa.Array[Any]] = {
        "step": pa.array([entry.step for entry in entries], pa.string()),
        "input": pa.array([entry.input for entry in entries], pa.string()),
        "letters": pa.array([entry.letters for entry in entries], pa.list_(pa.string())),
        "splits": pa.array([entry.splits for entry in entries], pa.list_(pa.string())),
        "ordinals": pa.array([entry.ordinals for entry in entries], pa.list_(pa.int64())),
        "rows": pa.array([stream_of(entry.rows) for entry in entries], pa.large_binary()),
    }
    batch = pa.RecordBatch.from_pydict(columns)
    return stream_of(batch)


def _decode(payload: bytes) -> Sequence[Entry]:
    import pyarrow as pa  # noqa: PLC0415 - never at start-up

    found = pa.ipc.open_stream(BytesIO(payload)).read_all().to_pylist()
    return [Entry(**{**row, "rows": batch_of(row["rows"])}) for row in found]


def batch_of(payload: bytes) -> pa.RecordBatch:
    """Return the one batch of an Arrow stream."""
    import pyarrow as pa  # noqa: PLC0415 - never at start-up

    return pa.ipc.open_stream(BytesIO(payload)).read_next_batch()
