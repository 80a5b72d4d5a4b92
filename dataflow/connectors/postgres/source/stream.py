"""One session that follows the log: a thread takes what comes, and the event loop.

    thread      read messages -> hand over a block -> wait for room, telling the server meanwhile
    event loop  takes blocks in order; says what is decided

A block is handed over when it is full, or nothing else comes and nobody is busy with one: the
more there is to do, the larger they are.

The server sends a transaction whole, when it is committed;
what nobody has taken is bounded here, and waits in the server's spill files behind that.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from dataflow.connectors.postgres.source.refusals import translated
from dataflow.connectors.postgres.source.replication import Replication

WAITING_BYTES = 8 << 20
"""Of messages that nobody has taken; beyond it nothing is read."""

BLOCK_BYTES = 4 << 20
MESSAGE_BYTES = 100
"""Of a message's object beside its content (``sys.getsizeof`` and its place in a list)."""

TELL_S = 2.0
"""How often the server hears of this side, be it idle or busy: far below ``wal_sender_timeout``
(60 s), after which it would end the session."""

STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Block:
    """Messages in their order; without any, how far the log has been passed."""

    messages: Sequence[bytes]
    size: int
    passed: int = 0


@dataclass(frozen=True, slots=True)
class Following:
    """What is followed, and from where on."""

    url: str
    name: str
    where: str
    slot: str
    publication: str
    lsn: int


class Stream:
    """Follows the log until it is closed."""

    def __init__(self, following: Following, rows_max: int, steady: Callable[[], float]) -> None:
        self._following = following
        self._rows_max = rows_max
        self._steady = steady
        self._loop = asyncio.get_running_loop()
        self._blocks: deque[Block] = deque()
        self._came = asyncio.Event()
        self._room = threading.Condition()
        self._waiting = 0
        self._decided = following.lsn
        self._told = -1
        self._tell_at = 0.0
        self._passed = 0
        self._failure: BaseException | None = None
        self._stopping = False
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self._thread = threading.Thread(target=self._follow, name="postgres-log", daemon=True)

    async def blocks(self) -> AsyncGenerator[Block, None]:
        """Yield what comes, for ever.

        Raises:
            Rejected: the slot cannot be read.
            Unavailable: the session is lost.
        """
        self._thread.start()
        while True:
            while not self._blocks:
                if self._failure is not None:
                    raise self._failure
                self._came.clear()
                await self._came.wait()
            yield self._blocks[0]
            block = self._blocks.popleft()  # AFTER it was taken: until then it waits.
            with self._room:
                self._waiting -= block.size
                self._room.notify()
            if self._waiting == 0:
                self._rouse()

    def decided(self, lsn: int) -> None:
        """Have the server told that it may forget what is before a position."""
        self._decided = max(self._decided, lsn)
        self._rouse()

    async def close(self) -> None:
        """End the session."""
        with self._room:
            self._stopping = True
            self._room.notify()
        self._rouse()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, STOP_S)
        self._wake.close()
        self._woken.close()

    def _rouse(self) -> None:
        with suppress(OSError):  # It is full, which rouses as well, or closed.
            self._wake.send(b"\0")

    # --- the thread ------------------------------------------------------------------------------

    def _follow(self) -> None:
        following = self._following
        session = None
        try:
            session = Replication(following.url, following.name)
            session.start(following.slot, following.publication, following.lsn)
            self._take(session)
        except psycopg.Error as error:
            self._tell(translated(error, following.where, following.slot))
        except BaseException as error:  # noqa: BLE001 - whoever reads must hear of it
            self._tell(error)
        finally:
            if session is not None:
                session.close()

    def _take(self, session: Replication) -> None:
        messages: list[bytes] = []
        size = 0
        while not self._stopping:
            message = session.next()
            if message is not None:
                messages.append(message)
                size += len(message) + MESSAGE_BYTES
                if size < BLOCK_BYTES and len(messages) < self._rows_max:
                    continue
            if messages and (message is not None or self._waiting == 0):
                self._hand_over(Block(messages, size))
                messages, size = [], 0
                self._wait_for_room(session)
                continue
            if not messages:
                self._pass(session)
            self._tell_server(session)
            ready, _, _ = select.select([session.socket, self._woken.fileno()], [], [], TELL_S)
            if self._woken.fileno() in ready:
                with suppress(BlockingIOError):
                    self._woken.recv(4096)

    def _pass(self, session: Replication) -> None:
        """Hand over how far the server has got, for there may have been nothing of ours."""
        if session.passed > self._passed:
            self._passed = session.passed
            self._hand_over(Block((), 0, self._passed))

    def _hand_over(self, block: Block) -> None:
        with self._room:
            self._waiting += block.size
        with suppress(RuntimeError):  # The loop is gone, and with it everyone who reads.
            self._loop.call_soon_threadsafe(self._deliver, block)

    def _wait_for_room(self, session: Replication) -> None:
        while True:
            self._tell_server(session)
            with self._room:
                if self._room.wait_for(self._has_room, TELL_S):
                    return

    def _has_room(self) -> bool:
        return self._stopping or self._waiting < WAITING_BYTES

    def _tell_server(self, session: Replication) -> None:
        lsn, now = self._decided, self._steady()
        is_due = now >= self._tell_at  # Say it again: it is the sign of life.
        if is_due or lsn > self._told:
            session.tell(lsn, asks=is_due)
            self._told, self._tell_at = lsn, now + TELL_S

    def _tell(self, error: BaseException) -> None:
        with suppress(RuntimeError):  # The loop is gone, and with it everyone who reads.
            self._loop.call_soon_threadsafe(self._fail, error)

    # --- the event loop --------------------------------------------------------------------------

    def _deliver(self, block: Block) -> None:
        self._blocks.append(block)
        self._came.set()

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._came.set()
