"""The client without asyncio: the same methods, which return when they are done.

One thread with one event loop stands behind a client; any number of threads may use it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from datetime import timedelta
from functools import wraps
from random import Random
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from dataflow.client.connection import MESSAGE_BYTES_MAX, TIMEOUT, Tls
from dataflow.client.dataflow import DataFlow as AsyncDataFlow

P = ParamSpec("P")
T = TypeVar("T")


def _returning(
    method: Callable[Concatenate[AsyncDataFlow, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[DataFlow, P], T]:
    @wraps(method)
    def call(self: DataFlow, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(method(self._client, *args, **kwargs))

    return call


def _yielding(
    method: Callable[Concatenate[AsyncDataFlow, P], AsyncIterator[T]],
) -> Callable[Concatenate[DataFlow, P], Iterator[T]]:
    @wraps(method)
    def call(self: DataFlow, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items = method(self._client, *args, **kwargs)
        try:
            while True:
                try:
                    yield self._run(_next(items))
                except StopAsyncIteration:
                    return
        finally:
            if self._thread is not None:  # else the loop has closed it on its own way out
                self._run(_close(items))

    return call


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)


async def _close(items: AsyncIterator[Any]) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()


class DataFlow:
    """A connection to one server, for use as ``with DataFlow("127.0.0.1:50051") as df:``.

    Arguments, methods and errors are those of ``dataflow.client.DataFlow``; its iterators are
    plain ones here. An iterable given to ``push_many`` or ``execute`` is read in the client's
    thread.
    """

    def __init__(
        self,
        server: str,
        *,
        timeout: timedelta = TIMEOUT,
        connect_timeout: timedelta | None = None,
        tls: Tls | None = None,
        token: str = "",
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        keepalive: timedelta = timedelta(seconds=30),
        keepalive_timeout: timedelta = timedelta(seconds=10),
        random: Random | None = None,
    ) -> None:
        self._make: Callable[[], AsyncDataFlow] = lambda: AsyncDataFlow(
            server,
            timeout=timeout,
            connect_timeout=connect_timeout,
            tls=tls,
            token=token,
            message_bytes_max=message_bytes_max,
            keepalive=keepalive,
            keepalive_timeout=keepalive_timeout,
            random=random,
        )
        self._opened: Future[tuple[asyncio.AbstractEventLoop, AsyncDataFlow]] = Future()
        self._thread: threading.Thread | None = None
        self._closing: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._opened = Future()
        self._thread = threading.Thread(target=self._work, name="dataflow-client", daemon=True)
        self._thread.start()
        try:
            self._opened.result()
        except BaseException:
            self._thread.join()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        loop, _client = self._opened.result()
        if self._closing is not None:
            loop.call_soon_threadsafe(self._closing.set)
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    create = _returning(AsyncDataFlow.create)
    update = _returning(AsyncDataFlow.update)
    start = _returning(AsyncDataFlow.start)
    stop = _returning(AsyncDataFlow.stop)
    pause = _returning(AsyncDataFlow.pause)
    resume = _returning(AsyncDataFlow.resume)
    reset = _returning(AsyncDataFlow.reset)
    rollback = _returning(AsyncDataFlow.rollback)
    replay = _returning(AsyncDataFlow.replay)
    replay_dead_letters = _returning(AsyncDataFlow.replay_dead_letters)
    purge_dead_letters = _returning(AsyncDataFlow.purge_dead_letters)
    dead_letter_causes = _returning(AsyncDataFlow.dead_letter_causes)
    delete = _returning(AsyncDataFlow.delete)
    get = _returning(AsyncDataFlow.get)
    metrics = _returning(AsyncDataFlow.metrics)
    health = _returning(AsyncDataFlow.health)
    validate = _returning(AsyncDataFlow.validate)
    preview = _returning(AsyncDataFlow.preview)
    push = _returning(AsyncDataFlow.push)
    cluster = _returning(AsyncDataFlow.cluster)
    nodes = _returning(AsyncDataFlow.nodes)
    drain = _returning(AsyncDataFlow.drain)
    undrain = _returning(AsyncDataFlow.undrain)
    move = _returning(AsyncDataFlow.move)
    unpin = _returning(AsyncDataFlow.unpin)
    list = _yielding(AsyncDataFlow.list)
    events = _yielding(AsyncDataFlow.events)
    versions = _yielding(AsyncDataFlow.versions)
    dead_letters = _yielding(AsyncDataFlow.dead_letters)
    shards = _yielding(AsyncDataFlow.shards)
    watch = _yielding(AsyncDataFlow.watch)
    push_many = _yielding(AsyncDataFlow.push_many)
    execute = _yielding(AsyncDataFlow.execute)

    def new_id(self) -> str:
        """Return an id that nobody else has, for a command or a batch."""
        return self._client.new_id()

    @property
    def _client(self) -> AsyncDataFlow:
        if self._thread is None:
            raise RuntimeError("the client is not open: use `with DataFlow(…) as df:`")
        return self._opened.result()[1]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._opened.result()[0])
        try:
            return future.result()
        except BaseException:  # also Ctrl-C: what nobody waits for any more shall end
            future.cancel()
            raise

    def _work(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._closing = asyncio.Event()
        try:
            async with self._make() as client:
                self._opened.set_result((asyncio.get_running_loop(), client))
                await self._closing.wait()
        except BaseException as error:  # raised again in the thread that opened the client
            if self._opened.done():
                raise
            self._opened.set_exception(error)
