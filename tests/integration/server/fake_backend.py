"""A backend in memory: the real rules of the lifecycle, nothing that runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta

from dataflow.core import commands as c
from dataflow.core import ids
from dataflow.core.answers import Answer
from dataflow.core.checkpoint import Checkpoint, Ledger, SplitPosition, Totals
from dataflow.core.errors import Code, DataFlowError, Problem, Rejected, Waiting
from dataflow.core.events import Event
from dataflow.core.lifecycle import decide, evolve
from dataflow.core.messages import Phase
from dataflow.core.spec import PipelineSpec
from dataflow.core.state import Drain, State, Status
from dataflow.server import backend as b

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)

DECISION = Checkpoint(
    positions={"s": SplitPosition('{"offset": 7}', records=7)},
    ledgers={"sink": Ledger(records_read=7, records_written=5, records_dead_lettered=2)},
    totals=Totals(records=7, batches=2, processing_us=5000, last_processed_at=NOW),
)


class FakeBackend:
    """Implements ``Backend``; its public attributes are what a test may set."""

    def __init__(self) -> None:
        self.ready = True
        self.raising: BaseException | None = None
        """Raised by every read, and the answer to every command."""
        self.draining_takes = timedelta()
        """How long a stop or pause stays under way."""
        self.delay = 0.0
        """Seconds before a command is answered."""
        self.flood: int = 0
        """Changes that a new watcher gets at once."""
        self.commands: list[c.Command] = []
        self.batches: list[tuple[str, str, str, bytes]] = []
        self.purged: list[b.Wanted] = []
        self.replays: list[b.ReplayLetters] = []
        self.in_flight = self.in_flight_most = 0
        self.unwatched = asyncio.Event()
        """Set when a watcher has gone."""
        self._states: dict[ids.PipelineId, State] = {}
        self._events: dict[ids.PipelineId, list[Event]] = {}
        self._answers: dict[tuple[str, str], tuple[bytes, Answer]] = {}
        self._watchers: list[asyncio.Queue[b.Change]] = []

    async def execute(self, commands: Sequence[c.Command]) -> Sequence[Answer | DataFlowError]:
        answers = [self._one(command) for command in commands]
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight_most, self.in_flight)
        await asyncio.sleep(self.delay)
        self.in_flight -= 1
        return answers

    def _one(self, command: c.Command) -> Answer | DataFlowError:
        self.commands.append(command)
        if isinstance(self.raising, DataFlowError):
            return self.raising
        if self.raising is not None:
            raise self.raising
        key = (command.actor, command.command_id)
        if key in self._answers:
            digest, answer = self._answers[key]
            if digest != command.digest:
                return Rejected("used for another payload", code=Code.COMMAND_ID_REUSED)
            return answer
        state = self._states.get(command.pipeline_id, State(pipeline_id=command.pipeline_id))
        try:
            bodies = decide(state, command.body, NOW)
        except DataFlowError as error:
            return error
        for body in bodies:
            state = self._happens(state, command, body)
        name = type(command.body).__name__
        answer = Answer(
            state.pipeline_id, state.status, name, NOW, bool(bodies), state.version, state.sequence
        )
        self._answers[key] = command.digest, answer
        return answer

    def _happens(self, state: State, command: c.Command, body: object) -> State:
        events = self._events.setdefault(command.pipeline_id, [])
        event = Event(
            pipeline_id=command.pipeline_id,
            offset=ids.Offset(len(events) + 1),
            sequence=ids.Sequence(len(events) + 1),
            time=NOW,
            actor=command.actor,
            command_id=command.command_id,
            body=body,  # type: ignore[arg-type]  # a body, from decide
        )
        events.append(event)
        self._states[command.pipeline_id] = state = evolve(state, event)
        for watcher in self._watchers:
            watcher.put_nowait(b.Change(self._shown(state), event, NOW))
        return state

    async def settled(self, pipeline: ids.PipelineId, patience: timedelta) -> State:
        await asyncio.sleep(min(self.draining_takes, patience).total_seconds())
        state = self._found(pipeline)
        if self.draining_takes > patience:
            raise Waiting("still stopping")
        if state.draining is not Drain.NOTHING:
            raise AssertionError("nothing runs here, so nothing drains")
        return state

    def _found(self, pipeline: ids.PipelineId) -> State:
        if self.raising is not None:
            raise self.raising
        if pipeline not in self._states:
            raise Rejected(f"there is no pipeline {pipeline!r}", code=Code.UNKNOWN_PIPELINE)
        return self._states[pipeline]

    def _shown(self, state: State) -> b.Pipeline:
        running = state.status is Status.RUNNING
        going = b.Running(Phase.PROCESSING, "", 12.5, 3) if running else b.Running()
        return b.Pipeline(state, DECISION, going, owner="here")

    async def pipeline(self, pipeline: ids.PipelineId) -> b.Pipeline:
        return self._shown(self._found(pipeline))

    async def pipeline_at(self, pipeline: ids.PipelineId, at: ids.Sequence | datetime) -> State:
        self._found(pipeline)
        state = State(pipeline_id=pipeline)
        for event in self._events[pipeline]:
            if event.time <= at if isinstance(at, datetime) else event.sequence <= at:
                state = evolve(state, event)
        return state

    async def pipelines(self, query: b.Query) -> tuple[Sequence[b.Summary], int]:
        if self.raising is not None:
            raise self.raising
        chosen = [
            state
            for key, state in sorted(self._states.items())
            if (query.status in {None, state.status}) and query.text in state.spec.name
        ]
        page = [state for state in chosen if state.pipeline_id > query.after][: query.limit]
        return [_summary(state) for state in page], len(chosen)

    async def events(
        self, pipeline: ids.PipelineId, after: ids.Sequence, limit: int, event_type: str
    ) -> Sequence[Event]:
        self._found(pipeline)
        events = self._events[pipeline]
        return [e for e in events if e.sequence > after and event_type in {"", e.type}][:limit]

    async def versions(
        self, pipeline: ids.PipelineId, before: ids.Version, limit: int
    ) -> Sequence[b.SpecVersion]:
        state = self._found(pipeline)
        numbers = range(min(state.version, before - 1 if before else state.version), 0, -1)
        none = ids.Version(0)
        return [
            b.SpecVersion(ids.Version(n), ids.Sequence(n), NOW, "me", none, state.spec)
            for n in numbers
        ][:limit]

    async def letter_causes(self, pipeline: ids.PipelineId) -> Sequence[b.Cause]:
        self._found(pipeline)
        return [b.Cause("t1", "no '…'", 3, "0")]

    async def purge_letters(self, pipeline: ids.PipelineId, wanted: b.Wanted) -> int:
        self._found(pipeline)
        self.purged.append(wanted)
        return 3

    async def replay_letters(self, pipeline: ids.PipelineId, asking: b.ReplayLetters) -> b.Replay:
        self._found(pipeline)
        self.replays.append(asking)
        return b.Replay("r", 3)

    async def dead_letters(
        self, pipeline: ids.PipelineId, after: str, limit: int, wanted: b.Wanted
    ) -> tuple[Sequence[b.DeadLetter], int, str]:
        self._found(pipeline)
        letters = [b.DeadLetter("t1", "s", n, "{}", "no number", NOW) for n in range(3)]
        begin = int(after or 0)
        more = str(begin + limit) if begin + limit < len(letters) else ""
        return letters[begin : begin + limit], len(letters), more

    async def ingest(
        self, pipeline: ids.PipelineId, batch_id: str, content_type: str, records: bytes
    ) -> b.Ingested:
        self._found(pipeline)
        duplicate = any(batch[1] == batch_id for batch in self.batches)
        self.batches.append((pipeline, batch_id, content_type, records))
        return b.Ingested(records=records.count(b"{"), first_offset=41, duplicate=duplicate)

    def validate(self, spec: PipelineSpec) -> b.Verdict:
        problems = []
        for name, source in spec.sources.items():
            if source.source_type not in {"file", "push"}:
                problems.append(Problem(f"{name}.sourceType", "unknown; one of file, push"))
            unknown = set(json.loads(source.options or "{}")) - {"format"}
            problems += [Problem(f"{name}.options.{key}", "unknown") for key in sorted(unknown)]
        columns = {"source": {"n": "int64"}}
        return b.Verdict(problems) if problems else b.Verdict((), "exactly-once", columns)

    async def preview(
        self, spec: PipelineSpec, records: int, given: b.Given
    ) -> Sequence[b.PreviewStep]:
        rows = [f'{{"n":{n}}}' for n in range(records)]
        rows = [row for each in given.values() for row in each.records] or rows
        bad = b.DeadLetter("source", "s", 9, "x", "no number", NOW)
        return [b.PreviewStep("source", [("n", "int64")], rows, 1, [bad])]

    async def watch(
        self, pipeline: ids.PipelineId | None, after: ids.Sequence | None
    ) -> AsyncGenerator[b.Change, None]:
        queue: asyncio.Queue[b.Change] = asyncio.Queue()
        self._watchers.append(queue)
        try:
            for state in list(self._states.values()) * max(self.flood, after is not None):
                yield b.Change(self._shown(state), None, NOW)
            while True:
                change = await queue.get()
                if pipeline in {None, change.pipeline.state.pipeline_id}:
                    yield change
        finally:
            self._watchers.remove(queue)
            self.unwatched.set()


def _summary(state: State) -> b.Summary:
    return b.Summary(
        pipeline_id=state.pipeline_id,
        name=state.spec.name,
        status=state.status,
        labels=state.spec.labels,
        source_type="file",
        sink_type="console",
        version=state.version,
        created_at=NOW,
        updated_at=NOW,
    )
