"""What a client can ask a server to tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from dataflow.client.connection import Connection
from dataflow.client.documents import Spec, read, request
from dataflow.client.following import Watch
from dataflow.client.messages import (
    DeadLetter,
    Event,
    GetHealthResponse,
    GetMetricsResponse,
    GetPipelineResponse,
    PipelineSummary,
    PipelineVersion,
    PreviewPipelineResponse,
    ValidatePipelineResponse,
    WatchPipelinesResponse,
)
from dataflow.core.errors import Problem, Rejected
from dataflow.core.state import Status
from dataflow.v1.pipeline_pb2 import (
    FieldProblem,
    GetHealthRequest,
    GetMetricsRequest,
    GetPipelineRequest,
    ListDeadLettersRequest,
    ListEventsRequest,
    ListPipelinesRequest,
    ListVersionsRequest,
    PreviewPipelineRequest,
    ValidatePipelineRequest,
)
from dataflow.wire.json import joined

PAGE_SIZE = 200
"""Between the server's default and its maximum: a list of thousands takes few requests, and the
first lines come soon."""


class Questions:
    """Questions change nothing and are asked again as commands are; they raise the same errors.

    The lists are async iterators that fetch page after page as they are read.
    """

    _connection: Connection

    async def get(
        self,
        pipeline_id: str,
        *,
        at: int | datetime | str = "",
        timeout: timedelta | None = None,
    ) -> GetPipelineResponse:
        """Return everything about a pipeline, now or as it was at a sequence number or moment."""
        if isinstance(at, datetime):
            at = at.isoformat()
        asked = GetPipelineRequest(pipeline_id=pipeline_id, at=str(at))
        return await self._connection.call(self._connection.stub.GetPipeline, asked, timeout)

    async def list(
        self,
        *,
        status: Status | None = None,
        label: str = "",
        q: str = "",
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[PipelineSummary]:
        """Yield the pipelines in order of their ids.

        Args:
            status: only these.
            label: only those with label ``name``, or ``name=value``.
            q: only those with this text in id, name or description.
            page_size: pipelines a request, 1 to 1,000.
        """
        chosen = None if status is None else f"STATUS_{status.upper()}"
        asked = ListPipelinesRequest(status=chosen, label=label, q=q, page_size=page_size)
        while True:
            page = await self._connection.call(self._connection.stub.ListPipelines, asked)
            for pipeline in page.pipelines:
                yield pipeline
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    async def events(
        self,
        pipeline_id: str,
        *,
        after: int = 0,
        event_type: str = "",
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[Event]:
        """Yield what happened to a pipeline after a sequence number; one type only if given."""
        asked = ListEventsRequest(
            pipeline_id=pipeline_id, after=after, type=event_type, page_size=page_size
        )
        while True:
            page = await self._connection.call(self._connection.stub.ListEvents, asked)
            for event in page.events:
                yield event
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    async def versions(
        self, pipeline_id: str, *, page_size: int = PAGE_SIZE
    ) -> AsyncIterator[PipelineVersion]:
        """Yield the versions of a pipeline's spec, the latest first."""
        asked = ListVersionsRequest(pipeline_id=pipeline_id, page_size=page_size)
        while True:
            page = await self._connection.call(self._connection.stub.ListVersions, asked)
            for version in page.versions:
                yield version
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    async def dead_letters(
        self, pipeline_id: str, *, step: str = "", error: str = "", page_size: int = PAGE_SIZE
    ) -> AsyncIterator[DeadLetter]:
        """Yield the records that a step could not handle and that were kept.

        Only those of ``step`` and with the text ``error`` in their error, where these are given.
        """
        asked = ListDeadLettersRequest(
            pipeline_id=pipeline_id, step=step, error=error, page_size=page_size
        )
        while True:
            page = await self._connection.call(self._connection.stub.ListDeadLetters, asked)
            for letter in page.dead_letters:
                yield letter
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    async def metrics(
        self, pipeline_id: str, *, timeout: timedelta | None = None
    ) -> GetMetricsResponse:
        """Return what a pipeline has done, as decided, and how fast it goes."""
        asked = GetMetricsRequest(pipeline_id=pipeline_id)
        return await self._connection.call(self._connection.stub.GetMetrics, asked, timeout)

    async def health(
        self, pipeline_id: str, *, timeout: timedelta | None = None
    ) -> GetHealthResponse:
        """Return how a pipeline is, in a word and a sentence."""
        asked = GetHealthRequest(pipeline_id=pipeline_id)
        return await self._connection.call(self._connection.stub.GetHealth, asked, timeout)

    async def validate(
        self, spec: Spec, *, timeout: timedelta | None = None
    ) -> ValidatePipelineResponse:
        """Return everything that is wrong with a spec; nothing is stored.

        Also what the request could not hold, such as a misspelt field.
        """
        asked, unread = read(spec, ValidatePipelineRequest)
        call = self._connection.stub.ValidatePipeline
        told: ValidatePipelineResponse = await self._connection.call(call, asked, timeout)
        if unread:
            problems = joined(unread, [Problem(p.field, p.message) for p in told.problems])
            found = [FieldProblem(field=p.field, message=p.message) for p in problems]
            return ValidatePipelineResponse(valid=False, problems=found)
        return told

    async def preview(
        self,
        spec: Spec | None = None,
        *,
        pipeline_id: str = "",
        records: int = 0,
        given: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
        timeout: timedelta | None = None,
    ) -> PreviewPipelineResponse:
        """Run the first records of a spec, or of a pipeline there is, through every step.

        Args:
            spec: what to run.
            pipeline_id: the pipeline to run instead.
            records: how many are read, 1 to 1,000; 10 if none is said.
            given: records by source, in place of those that it would read; it is not opened.
            timeout: for the answer.

        Raises:
            Rejected: neither spec nor pipeline was given, or both.
            Waiting: its input is not there yet, for example a file: told at once, as it may come
                in an hour.
        """
        if (spec is None) == (not pipeline_id):
            raise Rejected("give either a spec or the id of a pipeline", field="pipelineId")
        asked = PreviewPipelineRequest(pipeline_id=pipeline_id)
        if spec is not None:
            asked = request(spec, PreviewPipelineRequest)
            asked.pipeline_id = ""  # it names a pipeline there is; the spec says what to run
        asked.records = records
        for source, rows in (given or {}).items():
            asked.given[source].records.extend(orjson.dumps(dict(row)).decode() for row in rows)
        method = self._connection.stub.PreviewPipeline
        return await self._connection.call(method, asked, timeout, waits=False)

    async def watch(
        self, pipeline_id: str = "", *, after: int | None = None
    ) -> AsyncIterator[WatchPipelinesResponse]:
        """Yield changes of status at once and rates a few times a second, for ever.

        One pipeline, or all. A broken stream is opened again and goes on behind the last event
        seen; what a break hid comes without a status, as it is read from the events. Of one
        pipeline nothing is missed that happens after the call, or after sequence number
        ``after``.

        Raises:
            DataFlowError: the server refuses, or was away for longer than the client's timeout.
        """
        if pipeline_id and after is None:
            after = (await self.get(pipeline_id)).sequence
        watch = Watch(self._connection, self._after, pipeline_id, after)
        async for change in watch.changes():
            yield change

    def _after(self, pipeline_id: str, after: int) -> AsyncIterator[Event]:
        return self.events(pipeline_id, after=after)
