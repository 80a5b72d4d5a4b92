"""A server of the generated code that keeps pipelines in memory, and fails where a test says so.

It stands in for a node where the client and the command line are looked at alone; the end-to-end
tests have the real one. Faults are data: ``service.faults["StartPipeline"]`` is a list of errors
that the next attempts get, each before or after the work was done.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeAlias

import grpc
import orjson
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from dataflow.v1 import event_pb2, spec_pb2
from dataflow.v1 import pipeline_pb2 as pb
from dataflow.v1.pipeline_pb2_grpc import PipelineServiceServicer

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SPEC_FIELDS = tuple(spec_pb2.PipelineSpec.DESCRIPTOR.fields_by_name)

CONFIGURED, RUNNING, PAUSED, STOPPED, FAILED, DELETED = (
    event_pb2.STATUS_CONFIGURED,
    event_pb2.STATUS_RUNNING,
    event_pb2.STATUS_PAUSED,
    event_pb2.STATUS_STOPPED,
    event_pb2.STATUS_FAILED,
    event_pb2.STATUS_DELETED,
)


Request: TypeAlias = Any
"""A message of any type, or a stream of them."""

Answer: TypeAlias = Any
"""A message of any type."""

Context: TypeAlias = Any
"""What gRPC hands to a method."""


@dataclass(frozen=True)
class Fault:
    """What one attempt meets: a refusal, before or after its work was done."""

    status: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    message: str = "not now"
    reason: str = "BUSY"
    """Empty: no details, as from gRPC itself."""
    problems: Sequence[tuple[str, str]] = ()
    retry_after: timedelta | None = None
    after_work: bool = False


class Refused(Exception):
    """The service refuses."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault


def refuse(
    status: grpc.StatusCode, reason: str, message: str, *problems: tuple[str, str]
) -> NoReturn:
    """Refuse with a status, a code and problems."""
    raise Refused(Fault(status, message, reason, problems))


@dataclass
class Kept:
    """One pipeline."""

    spec: spec_pb2.PipelineSpec
    status: event_pb2.Status = CONFIGURED
    version: int = 1
    reason: str = ""
    phase: str = "idle"
    events: list[event_pb2.Event] = field(default_factory=list)
    versions: list[spec_pb2.PipelineSpec] = field(default_factory=list)
    records: int = 0
    batches: dict[str, int] = field(default_factory=dict)
    letters: int = 0
    error: event_pb2.PipelineError | None = None


class Service(PipelineServiceServicer):
    """The service. ``seen`` has every command id of each method, in order of the attempts."""

    def __init__(self) -> None:
        self.pipelines: dict[str, Kept] = {}
        self.answers: dict[str, Message] = {}
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.seen: dict[str, list[str]] = defaultdict(list)
        self.tokens: list[str] = []
        self.works: Counter[str] = Counter()
        self.watchers: list[asyncio.Queue[pb.WatchPipelinesResponse | None]] = []
        self.watched_after: list[int] = []
        self.run: Callable[[str], None] = lambda _: None
        """What a started pipeline does at once."""
        self.executed: list[int] = []
        self.silent = False
        """Take bulks and never answer them."""
        self.break_after = 0
        """End the next stream with UNAVAILABLE after so many answers; 0 never does."""

    # --- how a call goes -------------------------------------------------------------------------

    async def _serve(
        self, name: str, request: Request, context: Context, work: Callable[[], Answer]
    ) -> Answer:
        for key, value in context.invocation_metadata():
            if key == "authorization":
                self.tokens.append(value)
        self.seen[name].append(
            getattr(request, "command_id", "") or getattr(request, "batch_id", "")
        )
        fault = self.faults[name].popleft() if self.faults[name] else None
        if fault is not None and not fault.after_work:
            await _abort(context, fault)
        try:
            answer = self._once(name, request, work)
        except Refused as refused:
            await _abort(context, refused.fault)
        if fault is not None:
            await _abort(context, fault)
        return answer

    def _once(self, name: str, request: Request, work: Callable[[], Answer]) -> Answer:
        command_id = getattr(request, "command_id", "")
        if command_id and command_id in self.answers:
            return self.answers[command_id]
        self.works[name] += 1
        answer = work()
        if command_id:
            self.answers[command_id] = answer
        return answer

    def kept(self, pipeline_id: str) -> Kept:
        found = self.pipelines.get(pipeline_id)
        if found is None:
            refuse(grpc.StatusCode.NOT_FOUND, "UNKNOWN_PIPELINE", f"there is no {pipeline_id!r}")
        return found

    def note(self, pipeline_id: str, **body: Answer) -> event_pb2.Event:
        kept = self.pipelines[pipeline_id]
        event = event_pb2.Event(
            pipeline_id=pipeline_id, sequence=len(kept.events) + 1, actor="local", **body
        )
        event.time.FromDatetime(NOW)
        event.tags["type"] = type(next(iter(body.values()))).__name__
        kept.events.append(event)
        self.tell(pipeline_id, event=event)
        return event

    def tell(self, pipeline_id: str, **what: Answer) -> None:
        kept = self.pipelines[pipeline_id]
        change = pb.WatchPipelinesResponse(
            pipeline_id=pipeline_id, status=kept.status, phase=kept.phase, **what
        )
        for watcher in self.watchers:
            watcher.put_nowait(change)

    def cut_watches(self) -> None:
        for watcher in self.watchers:
            watcher.put_nowait(None)

    # --- commands --------------------------------------------------------------------------------

    def _create(self, request: pb.CreatePipelineRequest) -> pb.CreatePipelineResponse:
        spec = _spec(request)
        if spec.source.source_type == "bad":
            refuse(
                grpc.StatusCode.INVALID_ARGUMENT,
                "INVALID",
                "2 problems",
                ("source.options.format", "unknown 'cvs', one of csv, json"),
                ("sink", "missing; a pipeline needs one"),
            )
        name = request.pipeline_id or "p-made-up"
        if name in self.pipelines:
            refuse(grpc.StatusCode.ALREADY_EXISTS, "PIPELINE_EXISTS", f"{name!r} is taken")
        self.pipelines[name] = Kept(spec=spec, versions=[spec])
        self.note(name, pipeline_created=event_pb2.PipelineCreated(spec=spec))
        return pb.CreatePipelineResponse(
            pipeline_id=name, status=CONFIGURED, message="created", changed=True, version=1
        )

    def _update(self, request: pb.UpdatePipelineRequest) -> pb.UpdatePipelineResponse:
        kept = self.kept(request.pipeline_id)
        if kept.status == RUNNING:
            refuse(
                grpc.StatusCode.FAILED_PRECONDITION,
                "FORBIDDEN_TRANSITION",
                "UpdatePipeline is allowed in configured, stopped; the pipeline is running",
            )
        spec = _spec(request)
        moved = spec.source.connection_string != kept.spec.source.connection_string
        if moved and not request.position:
            refuse(
                grpc.StatusCode.FAILED_PRECONDITION,
                "POSITION_REQUIRED",
                "position: the source became another one",
                ("position", "the source became another one; say keep, beginning or latest"),
            )
        changed = spec != kept.spec
        if changed:
            kept.spec, kept.version = spec, kept.version + 1
            kept.versions.append(spec)
            self.note(request.pipeline_id, config_updated=event_pb2.ConfigUpdated(spec=spec))
        return pb.UpdatePipelineResponse(
            pipeline_id=request.pipeline_id,
            status=kept.status,
            changed=changed,
            version=kept.version,
        )

    def _move(
        self,
        request: Request,
        answer: type[Message],
        to: event_pb2.Status,
        allowed: Sequence[event_pb2.Status],
        **body: Answer,
    ) -> Answer:
        kept = self.kept(request.pipeline_id)
        changed = kept.status != to
        if changed and kept.status not in allowed:
            word = event_pb2.Status.Name(kept.status).removeprefix("STATUS_").lower()
            refuse(
                grpc.StatusCode.FAILED_PRECONDITION,
                "FORBIDDEN_TRANSITION",
                f"not allowed; the pipeline is {word}",
            )
        if changed:
            kept.status, kept.reason = to, getattr(request, "reason", "")
            self.note(request.pipeline_id, **body)
        if to == RUNNING:
            self.run(request.pipeline_id)
        return answer(pipeline_id=request.pipeline_id, status=to, message="done", changed=changed)

    def _start(self, request: pb.StartPipelineRequest) -> pb.StartPipelineResponse:
        return self._move(  # type: ignore[no-any-return]  # built by its class
            request,
            pb.StartPipelineResponse,
            RUNNING,
            (CONFIGURED, STOPPED),
            pipeline_started=event_pb2.PipelineStarted(),
        )

    async def CreatePipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        return await self._serve("CreatePipeline", request, context, lambda: self._create(request))

    async def UpdatePipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        return await self._serve("UpdatePipeline", request, context, lambda: self._update(request))

    async def StartPipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        return await self._serve("StartPipeline", request, context, lambda: self._start(request))

    async def StopPipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        body = event_pb2.PipelineStopped(reason=request.reason)
        return await self._serve(
            "StopPipeline",
            request,
            context,
            lambda: self._move(
                request, pb.StopPipelineResponse, STOPPED, (RUNNING, PAUSED), pipeline_stopped=body
            ),
        )

    async def PausePipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        body = event_pb2.PipelinePaused(reason=request.reason)
        return await self._serve(
            "PausePipeline",
            request,
            context,
            lambda: self._move(
                request, pb.PausePipelineResponse, PAUSED, (RUNNING,), pipeline_paused=body
            ),
        )

    async def ResumePipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        body = event_pb2.PipelineResumed()
        return await self._serve(
            "ResumePipeline",
            request,
            context,
            lambda: self._move(
                request, pb.ResumePipelineResponse, RUNNING, (PAUSED,), pipeline_resumed=body
            ),
        )

    async def ResetPipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        body = event_pb2.PipelineReset()
        return await self._serve(
            "ResetPipeline",
            request,
            context,
            lambda: self._move(
                request, pb.ResetPipelineResponse, CONFIGURED, (FAILED,), pipeline_reset=body
            ),
        )

    async def DeletePipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        body = event_pb2.PipelineDeleted()
        return await self._serve(
            "DeletePipeline",
            request,
            context,
            lambda: self._move(
                request,
                pb.DeletePipelineResponse,
                DELETED,
                (CONFIGURED, STOPPED, PAUSED, FAILED),
                pipeline_deleted=body,
            ),
        )

    async def RollbackPipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.RollbackPipelineResponse:
            kept = self.kept(request.pipeline_id)
            if not 1 <= request.version <= kept.version:
                refuse(
                    grpc.StatusCode.NOT_FOUND,
                    "UNKNOWN_VERSION",
                    f"version: there is no version {request.version}",
                    ("version", f"there is no version {request.version}; the latest is 1"),
                )
            kept.version += 1
            kept.spec = kept.versions[request.version - 1]
            config = event_pb2.ConfigUpdated(rollback_to=request.version)
            self.note(request.pipeline_id, config_updated=config)
            return pb.RollbackPipelineResponse(
                pipeline_id=request.pipeline_id,
                status=kept.status,
                message=f"checkpoint {request.with_checkpoint}",
                changed=True,
                version=kept.version,
            )

        return await self._serve("RollbackPipeline", request, context, work)

    async def ReplayPipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.ReplayPipelineResponse:
            kept = self.kept(request.pipeline_id)
            self.note(request.pipeline_id, position_reset=event_pb2.PositionReset())
            at = request.time.ToJsonString() if request.HasField("time") else ""
            message = f"sequence {request.sequence} time {at}"
            return pb.ReplayPipelineResponse(
                pipeline_id=request.pipeline_id, status=kept.status, message=message, changed=True
            )

        return await self._serve("ReplayPipeline", request, context, work)

    # --- questions -------------------------------------------------------------------------------

    async def GetPipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.GetPipelineResponse:
            kept = self.kept(request.pipeline_id)
            answer = pb.GetPipelineResponse(
                pipeline_id=request.pipeline_id,
                status=kept.status,
                phase=kept.phase,
                reason=kept.reason or f"at {request.at}",
                version=kept.version,
                sequence=len(kept.events),
                guarantee="exactly-once",
                error=kept.error,
                metrics=self._metrics(kept),
            )
            for name in SPEC_FIELDS:
                _copy(kept.spec, answer, name)
            answer.created_at.FromDatetime(NOW)
            answer.updated_at.FromDatetime(NOW)
            return answer

        return await self._serve("GetPipeline", request, context, work)

    async def ListPipelines(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.ListPipelinesResponse:
            chosen = [
                name
                for name, kept in sorted(self.pipelines.items())
                if request.status in (0, kept.status)
                and request.q in name
                and (not request.label or request.label in _labels(kept))
            ]
            rest = [name for name in chosen if name > request.page_token]
            size = request.page_size or 50
            page = [self._summary(name) for name in rest[:size]]
            token = rest[size - 1] if len(rest) > size else ""
            return pb.ListPipelinesResponse(
                pipelines=page, total=len(chosen), next_page_token=token
            )

        return await self._serve("ListPipelines", request, context, work)

    def _summary(self, name: str) -> pb.PipelineSummary:
        kept = self.pipelines[name]
        summary = pb.PipelineSummary(
            pipeline_id=name,
            name=kept.spec.name,
            status=kept.status,
            labels=dict(kept.spec.labels),
            source_type=kept.spec.source.source_type,
            sink_type=kept.spec.sink.sink_type,
            version=kept.version,
        )
        summary.created_at.FromDatetime(NOW)
        summary.updated_at.FromDatetime(NOW)
        return summary

    def _metrics(self, kept: Kept) -> pb.Metrics:
        return pb.Metrics(
            total_records_processed=kept.records, throughput_per_second=1234.5, lag_records=-1
        )

    async def GetMetrics(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.GetMetricsResponse:
            kept = self.kept(request.pipeline_id)
            ledger = event_pb2.Ledger(records_read=kept.records, records_written=kept.records)
            return pb.GetMetricsResponse(
                pipeline_id=request.pipeline_id,
                total_records_processed=kept.records,
                dead_letters=kept.letters,
                lag_records=-1,
                ledger=ledger,
                sinks={"sink": pb.SinkMetrics(ledger=ledger)},
            )

        return await self._serve("GetMetrics", request, context, work)

    async def GetHealth(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.GetHealthResponse:
            kept = self.kept(request.pipeline_id)
            return pb.GetHealthResponse(
                pipeline_id=request.pipeline_id, health="healthy", status=kept.status
            )

        return await self._serve("GetHealth", request, context, work)

    async def ListEvents(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.ListEventsResponse:
            events = self.kept(request.pipeline_id).events
            after = max(request.after, int(request.page_token or 0))
            rest = [
                e for e in events if e.sequence > after and request.type in ("", e.tags["type"])
            ]
            size = request.page_size or 50
            token = str(rest[size - 1].sequence) if len(rest) > size else ""
            return pb.ListEventsResponse(events=rest[:size], next_page_token=token)

        return await self._serve("ListEvents", request, context, work)

    async def ListVersions(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.ListVersionsResponse:
            kept = self.kept(request.pipeline_id)
            versions = [
                pb.PipelineVersion(version=n, sequence=n, actor="local", spec=spec)
                for n, spec in enumerate(kept.versions, start=1)
            ]
            return pb.ListVersionsResponse(versions=versions[::-1])

        return await self._serve("ListVersions", request, context, work)

    async def ListDeadLetters(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.ListDeadLettersResponse:
            kept = self.kept(request.pipeline_id)
            first = int(request.page_token or 0)
            size = request.page_size or 50
            letters = [
                pb.DeadLetter(
                    step="source", split="a.csv", ordinal=n, record=f"x,{n}", error="not a number"
                )
                for n in range(first, min(first + size, kept.letters))
            ]
            token = str(first + size) if first + size < kept.letters else ""
            return pb.ListDeadLettersResponse(
                dead_letters=letters, total=kept.letters, next_page_token=token
            )

        return await self._serve("ListDeadLetters", request, context, work)

    async def ListDeadLetterCauses(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.ListDeadLetterCausesResponse:
            kept = self.kept(request.pipeline_id)
            cause = pb.DeadLetterCause(step="source", error="not a number", letters=kept.letters)
            return pb.ListDeadLetterCausesResponse(causes=[cause])

        return await self._serve("ListDeadLetterCauses", request, context, work)

    async def ReplayDeadLetters(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.ReplayDeadLettersResponse:
            self.kept(request.pipeline_id)
            return pb.ReplayDeadLettersResponse(letters=len(request.ids), replay_id=request.step)

        return await self._serve("ReplayDeadLetters", request, context, work)

    async def PurgeDeadLetters(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.PurgeDeadLettersResponse:
            kept = self.kept(request.pipeline_id)
            return pb.PurgeDeadLettersResponse(letters=kept.letters if request.all else 0)

        return await self._serve("PurgeDeadLetters", request, context, work)

    async def ValidatePipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.ValidatePipelineResponse:
            wrong = {"source.options.format": "unknown 'cvs'"}
            if request.source.source_type != "bad":
                wrong = {
                    f"transforms[{n}].options.expression": "missing"
                    for n, transform in enumerate(request.transforms)
                    if "expression" not in orjson.loads(transform.options)
                }
            problems = [pb.FieldProblem(field=f, message=m) for f, m in wrong.items()]
            guarantee = "" if problems else "exactly-once"
            return pb.ValidatePipelineResponse(
                valid=not problems, problems=problems, guarantee=guarantee
            )

        return await self._serve("ValidatePipeline", request, context, work)

    async def PreviewPipeline(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.PreviewPipelineResponse:
            if request.pipeline_id:
                self.kept(request.pipeline_id)
            rows = [
                orjson.dumps({"n": n, "who": "ü"}).decode() for n in range(request.records or 10)
            ]
            rows = [row for each in request.given.values() for row in each.records] or rows
            columns = [
                pb.PreviewColumn(name="n", type="int64"),
                pb.PreviewColumn(name="who", type="string"),
            ]
            step = pb.PreviewStep(step="source", columns=columns, records=rows)
            dropped = pb.PreviewStep(step="late", columns=columns, records=rows[:1], filtered=1)
            return pb.PreviewPipelineResponse(steps=[step, dropped])

        return await self._serve("PreviewPipeline", request, context, work)

    # --- records and streams ---------------------------------------------------------------------

    def _ingest(self, request: pb.IngestBatchRequest) -> pb.IngestBatchResponse:
        kept = self.kept(request.pipeline_id)
        duplicate = request.batch_id in kept.batches
        if b"refuse me" in request.records:
            refuse(
                grpc.StatusCode.INVALID_ARGUMENT,
                "RECORD_REJECTED",
                "records[0].n: not a number",
                ("records[0].n", "not a number"),
            )
        if not duplicate:
            kept.batches[request.batch_id] = count(request)
            kept.records += count(request)
        return pb.IngestBatchResponse(
            pipeline_id=request.pipeline_id,
            batch_id=request.batch_id,
            records=kept.batches[request.batch_id],
            duplicate=duplicate,
        )

    async def IngestBatch(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        return await self._serve("IngestBatch", request, context, lambda: self._ingest(request))

    async def IngestBatches(self, requests: Request, context: Context) -> AsyncIterator[Any]:  # noqa: N802 - named by proto/
        answered = 0
        async for request in requests:
            self.seen["IngestBatches"].append(request.batch.batch_id)
            answer = pb.IngestBatchesResponse()
            if self.faults["IngestBatches"]:
                answer.refusal.CopyFrom(refusal(self.faults["IngestBatches"].popleft()))
            else:
                try:
                    answer.batch.CopyFrom(self._ingest(request.batch))
                except Refused as refused:
                    answer.refusal.CopyFrom(refusal(refused.fault))
            if self.break_after and answered == self.break_after:
                self.break_after = 0
                await _abort(context, Fault(message="lost"))
            answered += 1
            yield answer

    async def Execute(self, requests: Request, context: Context) -> AsyncIterator[Any]:  # noqa: N802 - named by proto/
        answered = 0
        async for request in requests:
            self.executed.append(len(request.commands))
            if self.silent:
                await asyncio.Event().wait()
            answers = [self._command(command) for command in request.commands]
            if self.break_after and answered == self.break_after:
                self.break_after = 0
                await _abort(context, Fault(message="lost"))
            answered += 1
            yield pb.ExecuteResponse(answers=answers)

    def _command(self, command: pb.Command) -> pb.CommandAnswer:
        kind = command.WhichOneof("command") or ""
        body = getattr(command, kind)
        self.seen["Execute"].append(body.command_id)
        if self.faults["Execute"]:
            return pb.CommandAnswer(refusal=refusal(self.faults["Execute"].popleft()))
        works: dict[str, Callable[[Request], Answer]] = {
            "create": self._create,
            "update": self._update,
            "start": self._start,
        }
        work = works[kind]
        try:
            done = self._once(kind, body, lambda: work(body))
        except Refused as refused:
            return pb.CommandAnswer(refusal=refusal(refused.fault))
        return pb.CommandAnswer(
            pipeline_id=done.pipeline_id, status=done.status, changed=done.changed
        )

    async def WatchPipelines(self, request: Request, context: Context) -> AsyncIterator[Any]:  # noqa: N802 - named by proto/
        self.watched_after.append(request.after)
        if self.faults["WatchPipelines"]:
            await _abort(context, self.faults["WatchPipelines"].popleft())
        changes: asyncio.Queue[pb.WatchPipelinesResponse | None] = asyncio.Queue()
        if request.pipeline_id:
            kept = self.kept(request.pipeline_id)
            for event in kept.events:
                if request.after and event.sequence > request.after:
                    changes.put_nowait(
                        pb.WatchPipelinesResponse(
                            pipeline_id=request.pipeline_id,
                            event=event,
                            status=kept.status,
                            phase=kept.phase,
                        )
                    )
        self.watchers.append(changes)
        try:
            while (change := await changes.get()) is not None:
                if request.pipeline_id in ("", change.pipeline_id):
                    yield change
            await _abort(context, Fault(message="lost"))
        finally:
            self.watchers.remove(changes)


async def _abort(context: Context, fault: Fault) -> NoReturn:
    if not fault.reason:
        await context.abort(fault.status, fault.message)
    status = status_pb2.Status(code=fault.status.value[0], message=fault.message)
    info = error_details_pb2.ErrorInfo(reason=fault.reason, domain="dataflow")
    status.details.add().Pack(info)
    if fault.problems:
        violation = error_details_pb2.BadRequest.FieldViolation
        violations = [violation(field=f, description=m) for f, m in fault.problems]
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=violations))
    if fault.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(fault.retry_after)
        status.details.add().Pack(retry)
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(fault.status, fault.message, trailing)
    raise AssertionError("abort returned")


def refusal(fault: Fault) -> pb.Refusal:
    """Return a fault as a member of a bulk shows it."""
    problems = [pb.FieldProblem(field=f, message=m) for f, m in fault.problems]
    retryable = fault.status is grpc.StatusCode.UNAVAILABLE
    return pb.Refusal(
        code=fault.reason, message=fault.message, problems=problems, retryable=retryable
    )


def count(batch: pb.IngestBatchRequest) -> int:
    """Return the number of records in a batch."""
    if batch.content_type == "application/x-ndjson":
        return batch.records.count(b"\n")
    if batch.content_type == "application/json":
        return len(orjson.loads(batch.records))
    import pyarrow as pa  # noqa: PLC0415 - for the few tests that push Arrow

    return pa.ipc.open_stream(batch.records).read_all().num_rows


def _spec(request: Request) -> spec_pb2.PipelineSpec:
    spec = spec_pb2.PipelineSpec()
    for name in SPEC_FIELDS:
        _copy(request, spec, name)
    return spec


def _copy(source: Answer, target: Answer, name: str) -> None:
    value = getattr(source, name)
    if hasattr(value, "MergeFrom") or isinstance(value, Message):
        if not isinstance(value, Message) or source.HasField(name):
            getattr(target, name).MergeFrom(value)
    else:
        setattr(target, name, value)


def _labels(kept: Kept) -> set[str]:
    return {*kept.spec.labels, *(f"{k}={v}" for k, v in kept.spec.labels.items())}
