r"""Requests over one stream, a window of them under way, answered in order, resumed when it breaks.

    source --feed--> pending (the window) --requests()--> stream --take()--> answered, in order

A slot stays in ``pending`` until its answer is handed out, so what a broken stream leaves
unanswered is asked again on the next one: the same request, with the same ids. The source is read
by a task of its own, because gRPC cancels whatever reads its request iterator when a stream
breaks, and a cancelled source would have lost its next item.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, Protocol, TypeVar, cast

from grpc import aio

from dataflow.client.attempts import Attempts
from dataflow.client.connection import Connection
from dataflow.client.errors import from_rpc
from dataflow.core.errors import Code, DataFlowError, Unavailable

Q = TypeVar("Q")
A = TypeVar("A")
Q_co = TypeVar("Q_co", covariant=True)
A_contra = TypeVar("A_contra", contravariant=True)


class Slot(Protocol[Q_co, A_contra]):
    """One place in the order: what is asked, and what has been answered."""

    def request(self) -> Q_co:
        """Return what is still to be asked; the same each time until ``settle`` says otherwise."""
        ...

    def settle(self, answer: A_contra) -> DataFlowError | None:
        """Keep an answer; return why something must be asked again, if it must."""
        ...


class Pipelined(Generic[Q, A]):
    """One run over one source of slots."""

    def __init__(
        self,
        connection: Connection,
        method: Callable[[AsyncIterator[Q]], aio.StreamStreamCall[Q, A]],
        attempts: Attempts,
        window: int,
    ) -> None:
        self._connection = connection
        self._method = method
        self._attempts = attempts
        self._room = asyncio.Semaphore(window)
        self._pending: deque[_Place[Q, A]] = deque()
        self._unsent: asyncio.Queue[_Place[Q, A] | None] = asyncio.Queue()
        self._sent: deque[_Place[Q, A]] = deque()
        self._ended = False
        self._broken: BaseException | None = None
        self._alarm: asyncio.Timeout | None = None

    async def answered(self, source: AsyncIterator[Slot[Q, A]]) -> AsyncIterator[Slot[Q, A]]:
        """Yield each slot once it is settled, in the source's order.

        Raises:
            DataFlowError: there was no progress for as long as the attempts allow.
            Exception: whatever the source raised, after the slots that came before it.
        """
        feeding = self._connection.spawn(self._feed(source))
        try:
            while not (self._ended and not self._pending):
                call = self._open()
                try:
                    while await self._read(call):
                        for slot in self._settled():
                            yield slot
                except aio.AioRpcError as error:
                    failure = from_rpc(error, self._connection.settings.server)
                    await self._attempts.pause(failure, error)
                finally:
                    self._unsent.put_nowait(None)  # ends requests(), which nobody else would
                    call.cancel()
        finally:
            feeding.cancel()
        if self._broken is not None:
            raise self._broken

    async def _feed(self, source: AsyncIterator[Slot[Q, A]]) -> None:
        try:
            await self._room.acquire()
            async for slot in source:
                place = _Place(slot)
                if not self._pending:
                    self._attempts.reset()  # time in which nothing was asked counts for nothing
                self._pending.append(place)
                self._unsent.put_nowait(place)
                await self._room.acquire()
        except Exception as error:  # noqa: BLE001 - raised again by answered(), in its turn
            self._broken = error
        self._ended = True
        self._end_if_done()

    def _open(self) -> aio.StreamStreamCall[Q, A]:
        self._sent = deque()  # Another one: gRPC may still be reading for the stream that broke.
        self._unsent = asyncio.Queue()
        for place in self._pending:
            if not place.done and not place.resting:
                self._unsent.put_nowait(place)
        self._end_if_done()
        return self._method(self._requests(self._unsent, self._sent))

    async def _requests(
        self, unsent: asyncio.Queue[_Place[Q, A] | None], sent: deque[_Place[Q, A]]
    ) -> AsyncIterator[Q]:
        while (place := await unsent.get()) is not None:
            sent.append(place)  # BEFORE it is sent: its answer may be here at once
            alarm = self._alarm if sent is self._sent else None
            if alarm is not None and alarm.when() is None:
                self._arm(alarm)
            yield place.slot.request()

    async def _read(self, call: aio.StreamStreamCall[Q, A]) -> bool:
        """Take the next answer; tell whether the stream goes on."""
        try:
            async with asyncio.timeout(None) as self._alarm:
                if self._sent:
                    self._arm(self._alarm)
                answer = await call.read()
        except TimeoutError:
            raise self._silent() from None
        finally:
            self._alarm = None
        if answer is aio.EOF:
            if self._pending:  # a server that goes away politely
                await self._attempts.pause(self._silent())
            return False
        self._connection.reached = True
        self._take(cast("A", answer))
        return True

    def _arm(self, alarm: asyncio.Timeout) -> None:
        """Wait for an answer only as long as the caller would, and only where one is due."""
        alarm.reschedule(asyncio.get_running_loop().time() + self._attempts.remaining)

    def _take(self, answer: A) -> None:
        place = self._sent.popleft()
        again = place.slot.settle(answer)
        wait = None if again is None else self._attempts.wait(again)
        if wait is None:
            place.done = True
            self._attempts.reset()
        else:
            place.resting = True
            asyncio.get_running_loop().call_later(wait, self._ask_again, place)

    def _ask_again(self, place: _Place[Q, A]) -> None:
        place.resting = False
        self._unsent.put_nowait(place)

    def _settled(self) -> list[Slot[Q, A]]:
        found = []
        while self._pending and self._pending[0].done:
            found.append(self._pending.popleft().slot)
            self._room.release()
        self._end_if_done()
        return found

    def _end_if_done(self) -> None:
        if self._ended and not self._pending:
            self._unsent.put_nowait(None)

    def _silent(self) -> Unavailable:
        return Unavailable(
            f"{self._connection.settings.server} left {len(self._pending)} requests of a stream"
            " without an answer; they may still take effect, and the same ids find out",
            code=Code.OUTCOME_UNKNOWN,
        )


class _Place(Generic[Q, A]):
    """A slot on its way."""

    __slots__ = ("done", "resting", "slot")

    def __init__(self, slot: Slot[Q, A]) -> None:
        self.slot = slot
        self.done = False
        self.resting = False
