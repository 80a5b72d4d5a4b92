"""The owner's side of one run: it asks ``core.protocol.Protocol`` what to do, and does it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from zlib import crc32

from dataflow.cluster.mailbox import Mailbox
from dataflow.cluster.rate import Rate
from dataflow.cluster.register import Register
from dataflow.cluster.surroundings import DrainAsked, Inbox, RestAsked, Surroundings
from dataflow.core import messages as m
from dataflow.core.checkpoint import Checkpoint, Stamp
from dataflow.core.commands import FinishRun, RecordCheckpoint, ReportFailure
from dataflow.core.errors import Corrupted, DataFlowError, Fenced, NotOwner
from dataflow.core.events import PipelineError
from dataflow.core.light import replace
from dataflow.core.protocol import Effect, Input, Protocol, Step, next_tick
from dataflow.core.spec import with_defaults
from dataflow.core.state import Drain, State

AUDIT_EVERY = timedelta(minutes=1)
"""The log gets a copy of one checkpoint a minute: of all, it would be 1.3 TB a day."""

AUDIT_GROUPS = 4
"""Of a shard's pipelines: one append has the copies of a group, and holds nothing up for long."""

OPENING_GRACE = timedelta(seconds=30)
"""Beyond a stop's deadline, for sink and source to open: opening is what cuts back rows that were
never decided, and a pipeline at rest must not leave any. Longer than a sink waits for its lock."""

IDLE_CHECKPOINT_EVERY = timedelta(minutes=1)
"""Without new records a checkpoint is closed now and then while the sink holds rows that nobody
sees yet: one that rotates by time shows them. A pipeline that hides nothing costs nothing."""


class RunLoop:
    """Carries one run from its claim to its end. Messages come by ``receive``, in order."""

    def __init__(self, state: State, around: Surroundings) -> None:
        self.pipeline = state.pipeline_id
        self.run = state.run
        self.progress: m.Progress = m.Progress(self.pipeline, self.run, m.Phase.STARTING)
        self.rate = Rate()
        self._state = state
        self._around = around
        self._register = Register(around.registers, state.pipeline_id, state.run)
        self._options = with_defaults(state.spec.options)
        self._protocol = Protocol()
        self._inbox: Mailbox[Inbox] = Mailbox()
        self._prepared: Checkpoint | None = None
        self._completed = False
        self._resting = False
        self._progressed = False
        self._due_now = False
        self._active = False
        self._shown = False
        self._checkpoint_at = around.clock.steady()
        self._idle_until = self._checkpoint_at + IDLE_CHECKPOINT_EVERY.total_seconds()
        self._audit_at = self._next_audit(self._checkpoint_at)

    @property
    def decided(self) -> Checkpoint | None:
        """Return the latest decision of this pipeline, as far as this run knows."""
        return self._register.decided

    def receive(self, message: Inbox) -> None:
        """Take a message from the worker or the aggregate; one of an older run is ignored."""
        is_mine = isinstance(message, DrainAsked | RestAsked) or message.run == self.run
        # Progress that nothing follows from takes no turn of the loop; most of what is said is.
        if is_mine and (not isinstance(message, m.Progress) or self._notes(message)):
            self._inbox.put(message)

    async def work(self) -> None:
        """Carry the run to its end; afterwards its aggregate has been told how it ended.

        Raises:
            Fenced, NotOwner: another node owns the shard by now; the run was given up.
        """
        try:
            await self._claim()
            while self._protocol.step is not Step.ENDED:
                await self._next()
        except asyncio.CancelledError:
            self._around.send(m.Abandon(self.pipeline, self.run))
            raise
        except (Fenced, NotOwner):
            self._around.send(m.Abandon(self.pipeline, self.run))
            raise
        except DataFlowError as error:
            self._around.send(m.Abandon(self.pipeline, self.run))
            await self._failed(PipelineError.of_system(error))
        finally:
            self._inbox.close()

    async def _claim(self) -> None:
        """Make the register refuse every older run, BEFORE anything that one staged is dropped."""
        if not await self._register.claim(self._state):
            await self._step(Input.REFUSED)
            return
        self._around.probe("run.claimed")
        if self._register.is_news_to(self._state):
            await self._audit()
        self._protocol = replace(self._protocol, number=self._register.known.stamp.number)
        if self._state.draining is not Drain.NOTHING:
            self._protocol = self._protocol.ask_last()
        await self._step(Input.CLAIMED)

    async def _next(self) -> None:
        message = await self._inbox.get(self._patience_s())
        if message is None:
            await self._clock_struck()
        else:
            await self._take(message)
            if self._due_now and self._protocol.step is Step.READING:
                await self._begin_checkpoint()

    def _patience_s(self) -> float:
        """Return how long nothing can be due: until the next checkpoint, or the stop deadline."""
        if self._protocol.step is not Step.READING:
            return self._deadline_s()
        return min(self._deadline_s(), max(0.0, self._checkpoint_at - self._around.clock.steady()))

    def _deadline_s(self) -> float:
        deadline = self._state.deadline_at
        if deadline is None:
            return AUDIT_EVERY.total_seconds()
        if self._protocol.step is Step.OPENING:
            deadline += OPENING_GRACE
        return max(0.0, (deadline - self._around.clock.now()).total_seconds())

    async def _clock_struck(self) -> None:
        if self._deadline_s() <= 0:
            await self._give_up_draining()
        elif self._protocol.step is Step.READING:
            await self._begin_checkpoint()

    async def _begin_checkpoint(self) -> None:
        """Send a barrier; an idle pipeline needs none, unless it is the last or hides rows."""
        now = self._around.clock.steady()
        interval_s = self._options.checkpoint_interval.total_seconds()
        self._checkpoint_at = next_tick(now, interval_s, self._around.phase(self.pipeline))
        idle = not (self._active or self._due_now or self._protocol.last_asked)
        if idle and (now < self._idle_until or not self._register.known.hidden):
            return
        self._idle_until = now + IDLE_CHECKPOINT_EVERY.total_seconds()
        self._shown = self._shown or self._active
        self._active = self._due_now = False
        await self._step(Input.DUE)

    async def _take(self, message: Inbox) -> None:  # noqa: C901 - one arm a message
        match message:
            case m.Opened():
                await self._opened(message)
            case m.Prepared():
                self._prepared = message.checkpoint
                await self._step(Input.PREPARED)
            case m.Committed():
                await self._committed()
            case m.Failed():
                await self._failed(message.error)
            case m.Exhausted():
                self._completed = True
                self._ask_last()
            case m.CheckpointDue():
                self._due_now = True
            case m.Progress():
                if self._active and not self._shown:
                    self._due_now = True  # A takeover is over when its first rows are decided.
                await self._give_up_waiting()
            case DrainAsked():
                self._state = message.state
                await self._drain()
            case RestAsked():
                self._resting = True
                await self._drain()

    async def _opened(self, message: m.Opened) -> None:
        """Go on from where sink and source stand; the last decision has been committed again."""
        if not await self._register.adopt(message.checkpoint):
            await self._step(Input.REFUSED)
            return
        self._register.committed()
        known = self._register.known
        self._protocol = replace(self._protocol, number=known.stamp.number)
        await self._step(Input.OPENED)
        self._due_now = not known.seeded or self._protocol.last_asked
        if self._deadline_s() <= 0:
            await self._give_up_draining()

    def _ask_last(self) -> None:
        self._protocol = self._protocol.ask_last()
        self._due_now = True

    async def _drain(self) -> None:
        self._ask_last()
        await self._give_up_waiting()

    def _notes(self, progress: m.Progress) -> bool:
        """Remember what is going on; returns whether something may have to be done about it."""
        self._active = self._active or progress.is_beyond(self.progress)
        self.progress = progress
        self.rate.add(self._around.clock.steady(), progress.records_read)
        return not self._shown or progress.phase is m.Phase.WAITING

    async def _give_up_waiting(self) -> None:
        """End a last checkpoint that waits for what may never come; the sink has been cut back."""
        is_opening = self._protocol.step is Step.OPENING and self._protocol.last_asked
        if is_opening and self.progress.phase is m.Phase.WAITING:
            await self._give_up_draining()

    async def _give_up_draining(self) -> None:
        """End without another checkpoint: what is undecided is read again at the next start."""
        self._around.send(m.Abandon(self.pipeline, self.run))
        self._protocol = replace(self._protocol, step=Step.ENDED)
        self._completed = False
        await self._finish()

    async def _step(self, event: Input) -> None:
        self._protocol, effect = self._protocol.after(event)
        match effect:
            case Effect.RUN:
                self._around.send(
                    m.RunTask(self.pipeline, self.run, self._state.spec, self._register.known)
                )
            case Effect.BARRIER:
                self._around.send(
                    m.Barrier(self.pipeline, self.run, self._protocol.number, self._protocol.final)
                )
            case Effect.DECIDE:
                await self._decide()
            case Effect.TELL_DECIDED:
                self._around.send(m.Decided(self.pipeline, self.run, self._protocol.number))
            case Effect.ABANDON:
                self._around.send(m.Abandon(self.pipeline, self.run))
                await self._failed(PipelineError.of_system(Fenced("a larger run has decided")))
            case Effect.END:
                await self._finish()
            case Effect.NOTHING:
                pass

    async def _decide(self) -> None:
        """Decide what the worker prepared; the journal knows of a seed BEFORE its first row."""
        if self._prepared is None:
            raise Corrupted("a checkpoint was to be decided that nobody prepared")
        checkpoint = replace(
            self._prepared,
            stamp=Stamp(self.run, self._protocol.number),
            decided_at=self._around.clock.now(),
            seeded=True,
            final=self._protocol.final,
        )
        self._around.probe("run.prepared")
        was_seeded = self._register.known.seeded
        if not await self._register.decide(checkpoint):
            await self._step(Input.REFUSED)
            return
        self._around.probe("run.decided")
        self._progressed = self._progressed or was_seeded
        if not was_seeded:
            await self._audit()
        await self._step(Input.ACCEPTED)

    async def _committed(self) -> None:
        self._around.probe("run.committed")
        self._register.committed()
        await self._step(Input.COMMITTED)
        if self._protocol.step is Step.READING and self._around.clock.steady() >= self._audit_at:
            await self._audit()

    async def _audit(self) -> None:
        self._audit_at = self._next_audit(self._around.clock.steady())
        await self._around.report(self.pipeline, await self._record())

    def _next_audit(self, now: float) -> float:
        """Return when a copy is due: shards take turns, and groups of a shard's pipelines."""
        group = crc32(self.pipeline.encode()) % AUDIT_GROUPS
        phase = (self._around.phase(self.pipeline) + group / AUDIT_GROUPS) % 1
        return next_tick(now, AUDIT_EVERY.total_seconds(), phase)

    async def _record(self) -> RecordCheckpoint:
        checkpoint = self._register.known
        read = sum(p.records for p in checkpoint.positions.values())
        end = await self._around.ingested(self.pipeline)
        return RecordCheckpoint(self.run, checkpoint, (end, read if end else 0))

    async def _finish(self) -> None:
        if self._resting or await self._around.ingested(self.pipeline):
            await self._audit()
        self._around.probe("run.finishing")
        if self._completed or not self._resting:
            finished = FinishRun(self.run, self.decided, completed=self._completed)
            await self._around.report(self.pipeline, finished)

    async def _failed(self, error: PipelineError) -> None:
        self._protocol = replace(self._protocol, step=Step.ENDED)
        jitter = self._around.jitter()
        failure = ReportFailure(self.run, error, self.decided, self._progressed, jitter)
        await self._around.report(self.pipeline, failure)
