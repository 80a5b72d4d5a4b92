"""One pipeline's log while it is open: order, batch ids, room, and commits in groups.

Batches are parsed side by side and written in the order in which they were pushed. While one
group is synchronised the next gathers; nobody is answered before the group of their batch is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

from dataflow.core.errors import Code, DataFlowError, Rejected, Unavailable
from dataflow.engine.closing import to_its_end
from dataflow.engine.ingest.contract import LogStore, Lost
from dataflow.engine.ingest.frame import Batch
from dataflow.engine.ingest.pushed import Ingested, IngestOptions, Parse, Parsed, Pushed
from dataflow.engine.ingest.window import Taken

GROUP_BYTES_MAX = 32 << 20
"""Of one write: two of the largest batches, and some 100 ms of a disk's time."""

RETRY_AFTER = timedelta(seconds=1)
"""Room comes with the next checkpoint, and those are a second apart by default."""

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Slot:
    """A batch's place in the order, taken when it is pushed."""

    batch_id: str
    digest: bytes
    size: int
    done: asyncio.Future[Ingested]
    parsed: Parsed | None = None


@dataclass(frozen=True, slots=True)
class Threads:
    """Where a log works: parsing keeps processors busy, storing waits for the disk."""

    parsing: Executor
    storing: Executor


@dataclass(eq=False)
class OpenLog:
    """A log's state in this process. All methods belong to the event loop."""

    store: LogStore
    threads: Threads
    parse: Parse
    decided: int = 0
    users: int = 0
    _slots: dict[str, _Slot] = field(default_factory=dict)
    _order: deque[_Slot] = field(default_factory=deque)
    _opening: asyncio.Future[None] | None = None
    _entering: asyncio.Lock = field(default_factory=asyncio.Lock)
    _pinning: asyncio.Lock = field(default_factory=asyncio.Lock)
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    _flushing: bool = False

    async def open(self) -> None:
        """Open the store, once; raises as ``LogStore.open``.

        Callers go on in the order in which they came: who finds it open does not overtake those
        who have waited for that, or batches would enter the log out of order.
        """
        async with self._entering:
            if self._opening is None:
                loop = asyncio.get_running_loop()
                self._opening = loop.run_in_executor(self.threads.storing, self.store.open)
            opening = self._opening
            try:
                await asyncio.shield(opening)
            except DataFlowError:
                if self._opening is opening:
                    self._opening = None  # What is wrong may be mended; the next call looks again.
                raise

    @property
    def idle(self) -> bool:
        """Tell whether nobody uses it and no thread is at its store."""
        opening = self._opening is not None and not self._opening.done()
        return not (self.users or self._slots or self._flushing or opening)

    async def append(self, pushed: Pushed, options: IngestOptions) -> Ingested:
        """See ``IngestLogs.append``."""
        digest = pushed.digest()
        size = len(pushed.payload)
        known = await self._known(pushed.batch_id, digest)
        if known is None and self._excess(size, options.buffer_bytes):
            found = await run(self.threads.storing, self.store.forgotten)
            self.decided = max(self.decided, found)
            # Meanwhile it may have been lost, or the same batch may have come once more.
            await self.open()
            known = await self._known(pushed.batch_id, digest)
        if known is not None:
            return known
        self._require_room(size, options.buffer_bytes)
        done: asyncio.Future[Ingested] = asyncio.get_running_loop().create_future()
        slot = _Slot(pushed.batch_id, digest, size, done)
        self._slots[slot.batch_id] = slot
        self._order.append(slot)
        try:
            await self._parse(slot, pushed, options)
            return await asyncio.shield(done)
        except BaseException as error:
            self._withdraw(slot, error)
            raise

    # --- a batch's way to the disk ---------------------------------------------------------------

    async def _known(self, batch_id: str, digest: bytes) -> Ingested | None:
        """Return the answer for a batch that was pushed before, or is being pushed."""
        slot = self._slots.get(batch_id)
        taken = self.store.window.get(batch_id)
        before = slot.digest if slot else taken.digest if taken else digest
        if before != digest:
            raise Rejected(
                f"{batch_id!r} was used for a batch with other content; a new batch needs a new id",
                code=Code.COMMAND_ID_REUSED,
                field="batchId",
            )
        if slot:
            return replace(await asyncio.shield(slot.done), duplicate=True)
        return _answer(taken, duplicate=True) if taken else None

    def _require_room(self, size: int, buffer_bytes: int) -> None:
        """Refuse what would leave too much undecided; a batch alone always passes."""
        if waiting := self._excess(size, buffer_bytes):
            raise Unavailable(
                f"{waiting} bytes of pushed records wait to be processed and bufferBytes is"
                f" {buffer_bytes}; push again later, or see whether the pipeline runs",
                code=Code.BUSY,
                retry_after=RETRY_AFTER,
            )

    def _excess(self, size: int, buffer_bytes: int) -> int:
        """Return how many bytes wait already, if a batch of ``size`` would be too much; else 0."""
        waiting = self.store.bytes_from(self.decided) + sum(slot.size for slot in self._order)
        return waiting if waiting + size > buffer_bytes else 0

    async def _parse(self, slot: _Slot, pushed: Pushed, options: IngestOptions) -> None:
        """Make a batch ready to be written. The first one fixes the schema BEFORE any other."""
        if self.store.schema is None:
            async with self._pinning:
                if self.store.schema is None:
                    await self._parse_now(slot, pushed, options)
                    await asyncio.shield(slot.done)
                    return
        await self._parse_now(slot, pushed, options)

    async def _parse_now(self, slot: _Slot, pushed: Pushed, options: IngestOptions) -> None:
        schema, types = self.store.schema, dict(options.types)
        slot.parsed = await self.parse(pushed, types, schema)
        self._flush()

    def _withdraw(self, slot: _Slot, error: BaseException) -> None:
        """Let go of a batch that failed, or whose caller has gone before it was written."""
        if slot not in self._order:
            return  # It is being written, or has been answered.
        self._order.remove(slot)
        cause = error if isinstance(error, DataFlowError) else None
        gone = Unavailable("whoever pushed the batch first has gone; push it again")
        self._answer(slot, cause or gone)
        self._flush()

    def _flush(self) -> None:
        """Write what is ready, in order, unless a write is under way."""
        group: list[_Slot] = []
        batches: list[Batch] = []
        schema, size = b"", 0
        while not self._flushing and self._order and size < GROUP_BYTES_MAX:
            slot = self._order[0]
            if slot.parsed is None:
                break
            parsed = slot.parsed
            group.append(self._order.popleft())
            batches.append(Batch(slot.batch_id, slot.digest, parsed.records, parsed.body))
            schema, size = parsed.schema, size + len(parsed.body)
        if not group:
            return
        self._flushing = True
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self.threads.storing, self.store.append, batches, schema)
        writing.add_done_callback(partial(self._flushed, group))

    def _flushed(self, group: Sequence[_Slot], writing: asyncio.Future[Sequence[Taken]]) -> None:
        """Answer a group AFTER it is synchronised, and write the next."""
        self._flushing = False
        error = writing.exception()
        for index, slot in enumerate(group):
            self._answer(slot, error or _answer(writing.result()[index], duplicate=False))
        if error is None:
            self.grown.set()
            self.grown = asyncio.Event()
        if isinstance(error, Lost):
            self._opening = None
            self._answer_all(error)
        self._flush()

    def _answer_all(self, error: BaseException) -> None:
        """Let go of all that waits: it was compared with batch ids that may not be all there are.

        Whoever has the log now may have taken one of them.
        """
        while self._order:
            self._answer(self._order.popleft(), error)

    def _answer(self, slot: _Slot, answer: Ingested | BaseException) -> None:
        del self._slots[slot.batch_id]
        if isinstance(answer, Ingested):
            slot.done.set_result(answer)
        else:
            slot.done.set_exception(answer)
            slot.done.exception()  # Its caller may have gone; that is no reason to complain.


async def run(executor: Executor | None, work: Callable[..., T], *args: object) -> T:
    """Have blocking work done by one of an executor's threads; a caller that goes waits for it.

    So no file is closed while a thread is at it, however often the caller is told to go.
    """
    return await to_its_end(asyncio.get_running_loop().run_in_executor(executor, work, *args))


def _answer(taken: Taken, *, duplicate: bool) -> Ingested:
    return Ingested(taken.records, taken.first, duplicate)


def parse_in(threads: Executor | None) -> Parse:
    """Return what parses batches in threads of this process."""

    async def parse(pushed: Pushed, types: Mapping[str, str], schema: bytes | None) -> Parsed:
        return await run(threads, partial(_parsed, pushed, types, schema))

    return parse


def _parsed(pushed: Pushed, types: Mapping[str, str], schema: bytes | None) -> Parsed:
    from dataflow.engine.ingest import parse  # noqa: PLC0415 - Arrow comes with the first batch

    return parse.parse(pushed.content_type, pushed.payload, types, schema)
