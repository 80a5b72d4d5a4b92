"""The rpcs that change nothing: lists, details, metrics, validation, preview.

A handler takes the request and what is known of its call, and returns the response or raises an
error of ``dataflow.core.errors``. The names are those of the service in proto/.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import get_args

from dataflow.core import events, ids
from dataflow.core.errors import Rejected
from dataflow.core.state import Status
from dataflow.server import answers
from dataflow.server.backend import Backend, Given, GivenRecords, Query, Wanted
from dataflow.server.call import Call
from dataflow.server.checker import off_loop
from dataflow.server.commands import known
from dataflow.server.parameters import fitting, moment, page_id, page_number, page_size
from dataflow.server.specs import checked, examined, id_problems, spec_of
from dataflow.v1 import event_pb2, pipeline_pb2
from dataflow.wire.core import to_message
from dataflow.wire.words import word

PREVIEW_DEFAULT = 10
PREVIEW_MAX = 1_000

EVENT_TYPES = frozenset(cls.__name__ for cls in get_args(events.Body))


class ReadHandlers:
    """Every unary rpc without a command."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def ListPipelines(
        self, request: pipeline_pb2.ListPipelinesRequest, _: Call
    ) -> pipeline_pb2.ListPipelinesResponse:
        """List pipelines in order of ids."""
        size = page_size(request.page_size)
        status = word(event_pb2.Status.DESCRIPTOR, request.status) if request.status else ""
        if status and status not in set(Status):
            raise Rejected(f"there is no status {status}", field="status")
        query = Query(
            status=Status(status) if status else None,
            label=request.label,
            text=request.q,
            after=page_id(request.page_token),
            limit=size + 1,
        )
        lines, total = await self._backend.pipelines(query)
        page = lines[:size]
        return pipeline_pb2.ListPipelinesResponse(
            pipelines=map(answers.summary, page),
            total=total,
            next_page_token=page[-1].pipeline_id if len(lines) > size else "",
        )

    async def GetPipeline(
        self, request: pipeline_pb2.GetPipelineRequest, _: Call
    ) -> pipeline_pb2.GetPipelineResponse:
        """Show one, now or at a moment of its past."""
        pipeline = known(request.pipeline_id)
        if request.at:
            state = await self._backend.pipeline_at(pipeline, moment(request.at))
            found = answers.then(state)
        else:
            found = await self._backend.pipeline(pipeline)
        spec = found.state.spec
        validated = await off_loop(spec, lambda: self._backend.validate(spec))
        return answers.details(found, validated)

    async def GetMetrics(
        self, request: pipeline_pb2.GetMetricsRequest, _: Call
    ) -> pipeline_pb2.GetMetricsResponse:
        """Show what it has done."""
        return answers.full_metrics(await self._backend.pipeline(known(request.pipeline_id)))

    async def GetHealth(
        self, request: pipeline_pb2.GetHealthRequest, _: Call
    ) -> pipeline_pb2.GetHealthResponse:
        """Show how it is."""
        return answers.health(await self._backend.pipeline(known(request.pipeline_id)))

    async def ListEvents(
        self, request: pipeline_pb2.ListEventsRequest, _: Call
    ) -> pipeline_pb2.ListEventsResponse:
        """List what happened to it."""
        if request.type and request.type not in EVENT_TYPES:
            there_are = ", ".join(sorted(EVENT_TYPES))
            raise Rejected(f"unknown {request.type[:40]!r}, one of {there_are}", field="type")
        if request.after < 0:
            raise Rejected("use 0 or the number of an event", field="after")
        size = page_size(request.page_size)
        after = ids.Sequence(page_number(request.page_token, request.after))
        pipeline = known(request.pipeline_id)
        events = await self._backend.events(pipeline, after, size + 1, request.type)
        found = [to_message(event, event_pb2.Event) for event in events]
        page = fitting(found, size)
        return pipeline_pb2.ListEventsResponse(
            events=page,
            next_page_token=str(page[-1].sequence) if len(found) > len(page) else "",
        )

    async def ListVersions(
        self, request: pipeline_pb2.ListVersionsRequest, _: Call
    ) -> pipeline_pb2.ListVersionsResponse:
        """List the versions of its spec."""
        size = page_size(request.page_size)
        before = ids.Version(page_number(request.page_token, 0))
        pipeline = known(request.pipeline_id)
        versions = await self._backend.versions(pipeline, before, size + 1)
        found = list(map(answers.version, versions))
        page = fitting(found, size)
        return pipeline_pb2.ListVersionsResponse(
            versions=page,
            next_page_token=str(page[-1].version) if len(found) > len(page) else "",
        )

    async def ListDeadLetters(
        self, request: pipeline_pb2.ListDeadLettersRequest, _: Call
    ) -> pipeline_pb2.ListDeadLettersResponse:
        """List records that a step could not handle."""
        pipeline, size = known(request.pipeline_id), page_size(request.page_size)
        wanted = Wanted(step=request.step, error=request.error)
        while True:
            letters, total, token = await self._backend.dead_letters(
                pipeline, request.page_token, size, wanted
            )
            found = [to_message(letter, pipeline_pb2.DeadLetter) for letter in letters]
            size = len(fitting(found, size))
            if size == len(found):
                break  # else again: the backend knows where a page of so many ends
        return pipeline_pb2.ListDeadLettersResponse(
            dead_letters=found, total=total, next_page_token=token
        )

    async def ValidatePipeline(
        self, request: pipeline_pb2.ValidatePipelineRequest, __: Call
    ) -> pipeline_pb2.ValidatePipelineResponse:
        """Report everything that is wrong with a spec."""
        examine = partial(examined, validate=self._backend.validate)
        _, verdict = await off_loop(request, lambda: examine(spec_of(request)))
        problems = [*id_problems(request), *verdict.problems]
        return answers.found(replace(verdict, problems=problems))

    async def PreviewPipeline(
        self, request: pipeline_pb2.PreviewPipelineRequest, _: Call
    ) -> pipeline_pb2.PreviewPipelineResponse:
        """Run the first records through every step."""
        count = request.records or PREVIEW_DEFAULT
        if not 1 <= count <= PREVIEW_MAX:
            raise Rejected(f"use 1 to {PREVIEW_MAX}", field="records")
        given = request.HasField("source") or request.HasField("sink")
        given = given or bool(request.sources or request.sinks or request.transforms)
        if request.pipeline_id and given:
            raise Rejected("give either a pipeline or a spec, not both", field="pipelineId")
        if request.pipeline_id:
            spec = (await self._backend.pipeline(known(request.pipeline_id))).state.spec
        else:
            check = partial(checked, validate=self._backend.validate)
            spec = await off_loop(request, lambda: check(spec_of(request)))
        steps = await self._backend.preview(spec, count, _given(request))
        return pipeline_pb2.PreviewPipelineResponse(steps=map(answers.preview_step, steps))


def _given(request: pipeline_pb2.PreviewPipelineRequest) -> Given:
    """Return the records that stand in for sources; an empty object is an empty text so far."""
    given = {}
    for name, each in request.given.items():
        if not 1 <= len(each.records) <= PREVIEW_MAX:
            raise Rejected(f"give 1 to {PREVIEW_MAX} records", field=f"given.{name}.records")
        given[name] = GivenRecords(tuple(record or "{}" for record in each.records))
    return given
