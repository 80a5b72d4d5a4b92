"""A watch that outlives its stream: after each break it goes on behind the last event seen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from grpc import aio

from dataflow.client.connection import Connection
from dataflow.client.errors import Unreachable, from_rpc
from dataflow.v1.event_pb2 import Event
from dataflow.v1.pipeline_pb2 import WatchPipelinesRequest, WatchPipelinesResponse


class Watch:
    """What happens to one pipeline, or to all, without a gap for those already seen.

    A stream tells what happens from when it was opened, or, of one pipeline, after a sequence
    number. So one pipeline is asked for by number; with all of them, what a break hid is read
    from the events of each pipeline that has been seen, and so is a number that was skipped.
    """

    def __init__(
        self,
        connection: Connection,
        events: Callable[[str, int], AsyncIterator[Event]],
        pipeline_id: str,
        after: int | None,
    ) -> None:
        self._connection = connection
        self._events = events
        self._pipeline_id = pipeline_id
        self._seen: dict[str, int] = {}
        if pipeline_id and after is not None:
            self._seen[pipeline_id] = after

    async def changes(self) -> AsyncIterator[WatchPipelinesResponse]:
        """Yield changes for ever.

        Raises:
            DataFlowError: the server refuses, or was away for longer than the timeout.
        """
        attempts = self._connection.attempts()
        while True:
            call = self._open()
            try:
                async for missed in self._missed():
                    yield missed
                async for change in call:
                    self._connection.reached = True
                    attempts.reset()
                    async for known in self._in_order(change):
                        yield known
                server = self._connection.settings.server
                await attempts.pause(Unreachable(f"{server} ended the watch"))
            except aio.AioRpcError as error:
                await attempts.pause(from_rpc(error, self._connection.settings.server), error)
            finally:
                call.cancel()

    def _open(self) -> aio.UnaryStreamCall[WatchPipelinesRequest, WatchPipelinesResponse]:
        after = self._seen.get(self._pipeline_id, 0)
        request = WatchPipelinesRequest(pipeline_id=self._pipeline_id, after=after)
        return self._connection.stub.WatchPipelines(request, metadata=self._connection.metadata)

    async def _missed(self) -> AsyncIterator[WatchPipelinesResponse]:
        """Yield what no stream tells: after a break of a watch of all, and after number 0."""
        if self._pipeline_id and self._seen.get(self._pipeline_id) != 0:
            return
        for pipeline_id, after in list(self._seen.items()):
            async for event in self._events(pipeline_id, after):
                yield self._noted(event)

    async def _in_order(
        self, change: WatchPipelinesResponse
    ) -> AsyncIterator[WatchPipelinesResponse]:
        if not change.HasField("event"):
            yield change
            return
        last = self._seen.get(change.pipeline_id)
        if last is not None and change.event.sequence > last + 1:
            async for event in self._events(change.pipeline_id, last):
                if event.sequence < change.event.sequence:
                    yield self._noted(event)
        if change.event.sequence > self._seen.get(change.pipeline_id, 0):
            self._seen[change.pipeline_id] = change.event.sequence
            yield change

    def _noted(self, event: Event) -> WatchPipelinesResponse:
        self._seen[event.pipeline_id] = event.sequence
        return WatchPipelinesResponse(
            pipeline_id=event.pipeline_id, event=event, timestamp=event.time
        )
