"""Commands in, answers out: what a host promises whatever its journal does to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import ClassVar

import pytest

from dataflow.cluster import aggregates, shard, window
from dataflow.cluster.host import Host, Surroundings
from dataflow.cluster.shard import Committed
from dataflow.core import commands as c
from dataflow.core import events as e
from dataflow.core.answers import Answer
from dataflow.core.checkpoint import Checkpoint, Stamp
from dataflow.core.errors import Code, Corrupted, Fenced, NotOwner, Rejected, Unavailable
from dataflow.core.ids import CommandId, Offset, PipelineId, ShardId, Version, shard_of
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.core.state import Status
from dataflow.journal.contract import AppendId, Decision, Held, Nonce, Record, Snapshot, link
from dataflow.journal.memory import Memory, Store
from dataflow.wire.journalled import event_from

SPEC = canonical(PipelineSpec(name="a", source=Source("file", "/a"), sink=Sink("console")))
P = PipelineId("p")
NEIGHBOUR = next(
    other for n in range(99) if shard_of(other := PipelineId(f"q{n}"), 4) == shard_of(P, 4)
)
"""Another pipeline of the same shard."""


@dataclass
class Ticking:
    """A clock that a test moves."""

    time: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def steady(self) -> float:
        return self.time.timestamp()


@dataclass
class Seen:
    """A projection that remembers what it was told, and how far it had got before."""

    events: list[Committed] = field(default_factory=list)
    applied: int | None = None
    """None: up to the end of each log."""
    store: Store = field(default_factory=Store)
    fenced: list[ShardId] = field(default_factory=list)

    def apply(self, committed: Sequence[Committed]) -> None:
        self.events += committed

    def replay(self, committed: Sequence[Committed]) -> None:
        self.events += committed

    async def settled(self, shard: ShardId) -> None:
        return

    async def applied_offset(self, shard: ShardId) -> Offset:
        return self.store.ends[shard].offset if self.applied is None else Offset(self.applied)


class Past:
    """A history of one version."""

    async def version(
        self, pipeline: PipelineId, version: Version
    ) -> tuple[PipelineSpec, Checkpoint | None] | None:
        return (SPEC, Checkpoint(stamp=Stamp())) if version == 1 else None

    async def checkpoint(
        self, pipeline: PipelineId, sequence: SequenceNumber, time: datetime | None
    ) -> Checkpoint | None:
        return Checkpoint() if sequence == 1 else None


class Unsure(Memory):
    """A journal whose next appends succeed or fail without saying so."""

    def __init__(self) -> None:
        super().__init__()
        self.doubts: list[str] = []
        self.appends: list[AppendId] = []

    async def append(self, held: Held, records: Sequence[Record], append_id: AppendId) -> Held:
        self.appends.append(append_id)
        doubt = self.doubts.pop(0) if self.doubts else ""
        if doubt == "full":
            raise Unavailable("no room", code=Code.STORAGE)
        if doubt == "fenced":
            raise Fenced("taken over")
        if doubt == "not written":
            raise Unavailable("who knows", code=Code.OUTCOME_UNKNOWN)
        held = await super().append(held, records, append_id)
        if doubt == "written":
            raise Unavailable("who knows", code=Code.OUTCOME_UNKNOWN)
        return held


class Slow(Memory):
    """A journal that appends when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def append(self, held: Held, records: Sequence[Record], append_id: AppendId) -> Held:
        await self.go.wait()
        return await super().append(held, records, append_id)


@asynccontextmanager
async def hosting(
    journal: Memory, seen: Seen | None = None, clock: Ticking | None = None
) -> AsyncIterator[Host]:
    """A host of four shards over a journal that outlives it."""
    nonces = count()
    seen = seen or Seen()
    seen.store = journal.store
    around = Surroundings(
        journal,
        seen,
        Past(),
        clock or Ticking(),
        new_nonce=lambda: f"n{next(nonces)}",
        shards=4,
        fenced=seen.fenced.append,
    )
    async with Host.open(around) as host:
        await host.acquire_all()
        yield host


def command(
    body: c.UserCommand, command_id: str = "", pipeline: PipelineId = P, digest: bytes = b"d"
) -> c.Command:
    """Return a command of a user, with an id made from its kind unless one is given."""
    name = command_id or type(body).__name__
    return c.Command(pipeline, CommandId(name), "me", body, digest)


CREATE = command(c.CreatePipeline(SPEC))


async def test_a_retried_command_gets_the_first_answer_and_changes_nothing() -> None:
    """The caller never learned whether the first one arrived."""
    seen = Seen()
    async with hosting(Memory(), seen) as host:
        first = await host.execute(CREATE)
        await host.execute(command(c.StartPipeline()))
        assert await host.execute(CREATE) == first
    assert [one.event.type for one in seen.events] == ["PipelineCreated", "PipelineStarted"]


async def test_a_retry_in_the_same_batch_gets_the_first_answer() -> None:
    """Both can be waiting for one append."""
    async with hosting(Memory()) as host:
        first, second = await host.execute_all([CREATE, CREATE])
        assert first == second


async def test_a_retry_after_a_restart_gets_the_first_answer() -> None:
    """With the log replayed, and with a snapshot in its place."""
    journal = Memory()
    async with hosting(journal) as host:
        first = await host.execute(CREATE)
        await host.execute(command(c.StartPipeline()))
    async with hosting(journal) as host:
        assert await host.execute(CREATE) == first
        assert host.state(P).status is Status.RUNNING


async def test_a_wish_that_holds_is_remembered_too() -> None:
    """Else a late retry of a start would start what was stopped since."""
    journal = Memory()
    async with hosting(journal) as host:
        await host.execute(CREATE)
        await host.execute(command(c.StartPipeline()))
        again = await host.execute(command(c.StartPipeline(), "again"))
        assert not again.changed
        await host.execute(command(c.StopPipeline()))
    async with hosting(journal) as host:
        assert await host.execute(command(c.StartPipeline(), "again")) == again
        assert host.state(P).status is Status.STOPPED


async def test_an_id_used_for_another_command_is_refused() -> None:
    """Answering with another command's answer would be a lie."""
    async with hosting(Memory()) as host:
        await host.execute(CREATE)
        with pytest.raises(Rejected) as caught:
            await host.execute(command(c.CreatePipeline(SPEC), digest=b"other"))
        assert caught.value.code == Code.COMMAND_ID_REUSED


@pytest.mark.parametrize("snapshot_events", [1, 1_000])
async def test_a_window_is_bounded_by_number_and_age(
    monkeypatch: pytest.MonkeyPatch, snapshot_events: int
) -> None:
    """Memory is finite; callers are told to stop retrying long before."""
    monkeypatch.setattr(shard, "SNAPSHOT_EVENTS", snapshot_events)
    monkeypatch.setattr(window, "COMMANDS_MAX", 2)
    clock = Ticking()
    async with hosting(Memory(), clock=clock) as host:
        await host.execute(CREATE)
        await host.execute(command(c.StartPipeline(), "s1"))
        await host.execute(command(c.StopPipeline(), "s2"))
        with pytest.raises(Rejected, match="taken"):
            await host.execute(CREATE)
        clock.time += timedelta(hours=2)
        await host.execute(command(c.StartPipeline(), "s3"))
        second = await host.execute(command(c.StopPipeline(), "s2"))
        assert second.changed


@pytest.mark.parametrize("snapshot_events", [1, 1_000])
@pytest.mark.parametrize(("minutes", "is_known"), [(60, True), (61, False)])
async def test_a_command_is_remembered_for_an_hour_of_journalled_time(
    monkeypatch: pytest.MonkeyPatch,
    snapshot_events: int,
    minutes: int,
    is_known: bool,  # noqa: FBT001 - a table
) -> None:
    """A replay forgets alike, whenever it comes; by then an id may stand for something new."""
    monkeypatch.setattr(shard, "SNAPSHOT_EVENTS", snapshot_events)
    clock = Ticking()
    async with hosting(Memory(), clock=clock) as host:
        await host.execute(CREATE)
        first = await host.execute(command(c.StartPipeline()))
        clock.time += timedelta(minutes=minutes)
        await host.execute(command(c.StopPipeline()))
        again = await host.execute(command(c.StartPipeline()))
        assert (again == first) == is_known
        assert (host.state(P).status is Status.RUNNING) != is_known


@pytest.mark.parametrize("doubt", ["written", "not written"])
async def test_an_unknown_outcome_is_repeated_identically(doubt: str) -> None:
    """Concluding anything from silence loses or repeats the command."""
    journal, seen = Unsure(), Seen()
    async with hosting(journal, seen) as host:
        journal.doubts = [doubt, doubt, ""]
        answer = await host.execute(CREATE)
        assert answer.changed
        await host.execute(command(c.StartPipeline()))
    assert len(set(journal.appends[:3])) == 1
    assert [one.event.sequence for one in seen.events] == [1, 2]


async def test_a_failed_append_throws_the_speculative_state_away() -> None:
    """What nobody was told has not happened."""
    journal, seen = Unsure(), Seen()
    async with hosting(journal, seen) as host:
        journal.doubts = ["full"]
        with pytest.raises(Unavailable, match="no room"):
            await host.execute(CREATE)
        with pytest.raises(Rejected, match="no pipeline"):
            host.state(P)
        assert (await host.execute(CREATE)).sequence == 1
    assert len(seen.events) == 1


async def test_an_unknown_outcome_stays_unknown_whatever_a_later_try_is_told() -> None:
    """A store that is full now may still carry out the first try: it is repeated until known."""
    journal = Unsure()
    async with hosting(journal) as host:
        journal.doubts = ["written", "full", "full"]
        answer = await host.execute(CREATE)
        assert answer.sequence == 1
        assert len(set(journal.appends)) == 1
        assert len(journal.appends) == 4
        assert (await host.execute(command(c.StartPipeline()))).status is Status.RUNNING


async def test_a_fenced_shard_answers_nobody() -> None:
    """Another node may have answered already."""
    journal, seen = Unsure(), Seen()
    async with hosting(journal, seen) as host:
        journal.doubts = ["fenced"]
        with pytest.raises(Fenced):
            await host.execute(CREATE)
        with pytest.raises(NotOwner):
            await host.submit(CREATE)
        assert seen.fenced == [shard_of(P, 4)]


async def test_a_fence_ends_a_host_that_was_to_be_alone() -> None:
    """A second process writes the same journal: nothing that this one says is true any more."""
    journal = Unsure()

    async def use() -> None:
        async with Host.open(Surroundings(journal, Seen(), Past(), Ticking(), str, 4)) as host:
            await host.acquire_all()
            journal.doubts = ["fenced"]
            with pytest.raises(Fenced):
                await host.execute(CREATE)
            await asyncio.sleep(10)

    with pytest.raises(ExceptionGroup) as raised:
        await use()
    assert raised.group_contains(Fenced)


async def test_a_shard_that_was_released_is_served_by_its_next_owner() -> None:
    """What was acknowledged here is known there."""
    journal = Memory()
    async with hosting(journal) as first:
        await first.execute(CREATE)
        await first.release(shard_of(P, 4))
        with pytest.raises(NotOwner):
            first.state(P)
        async with hosting(journal) as second:
            assert second.state(P).status is Status.CONFIGURED


async def test_what_waits_when_a_shard_is_released_is_carried_out() -> None:
    """A planned move loses no command that it had taken."""
    journal = Slow()
    async with hosting(journal) as host:
        pending = [host.submit(command(c.CreatePipeline(SPEC), "a"))]
        await asyncio.sleep(0)
        pending.append(host.submit(command(c.StartPipeline(), "b")))
        async with asyncio.TaskGroup() as group:
            group.create_task(host.release(shard_of(P, 4)))
            journal.go.set()
        assert [(await one).status for one in pending] == [Status.CONFIGURED, Status.RUNNING]


async def test_a_dropped_shard_answers_that_the_outcome_is_unknown() -> None:
    """The append may land: only its owner can say, who is another one."""
    journal = Slow()
    async with hosting(journal) as host:
        written = host.submit(CREATE)
        await asyncio.sleep(0)
        waiting = host.submit(command(c.StartPipeline()))
        host.drop(shard_of(P, 4))
        with pytest.raises(Unavailable) as unknown:
            await written
        with pytest.raises(NotOwner):
            await waiting
        assert unknown.value.code is Code.OUTCOME_UNKNOWN


async def test_a_node_that_may_not_serve_answers_nothing() -> None:
    """Past the deadline of its lease another one may have acquired everything."""
    may = True
    around = Surroundings(Memory(), Seen(), Past(), Ticking(), str, shards=4, may_serve=lambda: may)
    async with Host.open(around) as host:
        await host.acquire_all()
        await host.execute(CREATE)
        may = False
        with pytest.raises(NotOwner):
            host.state(P)
        with pytest.raises(NotOwner):
            await host.submit(command(c.StartPipeline()))
        may = True


async def test_an_acquisition_of_unknown_outcome_is_repeated_under_its_nonce() -> None:
    """A new nonce would raise the fence once more for every answer that is lost."""

    class Deaf(Memory):
        nonces: ClassVar[list[Nonce]] = []

        async def acquire(self, shard: ShardId, nonce: Nonce) -> Held:
            held = await super().acquire(shard, nonce)
            self.nonces.append(nonce)
            if len(self.nonces) < 3:
                raise Unavailable("no answer", code=Code.OUTCOME_UNKNOWN)
            return held

    journal, nonces = Deaf(), count()
    around = Surroundings(journal, Seen(), Past(), Ticking(), lambda: f"n{next(nonces)}", shards=4)
    async with Host.open(around) as host:
        assert (await host.acquire(ShardId(0)), Deaf.nonces) == (1, ["n0"] * 3)


async def test_one_append_carries_many_commands() -> None:
    """Group commit: the cost of durability is shared."""
    journal = Unsure()
    async with hosting(journal) as host:
        ids = [PipelineId(f"p{n}") for n in range(200)]
        answers = await host.execute_all(
            [command(c.CreatePipeline(SPEC), f"c{n}", one) for n, one in enumerate(ids)]
        )
        assert all(isinstance(answer, Answer) for answer in answers)
        assert len(journal.appends) <= 8


async def test_an_append_is_cut_where_it_grows_too_large() -> None:
    """Five hundred large specs at once are no reason to refuse any of them."""
    journal, seen = Unsure(), Seen()
    large = replace(SPEC, description="x" * (400 << 10))
    async with hosting(journal, seen) as host:
        answers = await host.execute_all(
            [
                CREATE,
                *(
                    command(c.UpdatePipeline(replace(large, name=str(n))), f"u{n}")
                    for n in range(8)
                ),
            ]
        )
        assert [answer.version for answer in answers if isinstance(answer, Answer)] == [
            *range(1, 10)
        ]
    assert len(journal.appends) > 2
    assert [one.event.sequence for one in seen.events] == [*range(1, 10)]


async def test_an_append_that_fails_takes_back_no_other() -> None:
    """What is durable is answered, or its caller does it again under another id."""
    journal, seen = Unsure(), Seen()
    large = replace(SPEC, description="x" * (400 << 10))
    updates = [
        command(c.UpdatePipeline(replace(large, name=str(n))), f"u{n}") for n in range(8)
    ]  # three fill an append
    async with hosting(journal, seen) as host:
        journal.doubts = ["", "full"]
        answers = await host.execute_all([CREATE, *updates])
        versions = [one.version if isinstance(one, Answer) else one.code for one in answers]
        assert versions == [1, 2, 3, 4, *[Code.STORAGE] * 3, 5, 6]
        assert (await host.execute(updates[3])).version == 7
    assert len(journal.appends) == 4
    assert [one.event.sequence for one in seen.events] == [*range(1, 8)]


async def test_commands_of_one_pipeline_keep_their_order() -> None:
    """Create, start, stop in one message must not be start first."""
    async with hosting(Memory()) as host:
        answers = await host.execute_all(
            [CREATE, command(c.StartPipeline()), command(c.StopPipeline())]
        )
        statuses = [answer.status for answer in answers if isinstance(answer, Answer)]
        assert statuses == [Status.CONFIGURED, Status.RUNNING, Status.STOPPED]


async def test_snapshots_stand_in_for_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaying a year of events at every start would take as long as it sounds."""
    monkeypatch.setattr(shard, "SNAPSHOT_EVENTS", 3)
    monkeypatch.setattr(aggregates, "LIVE_MAX", 1)
    journal = Memory()
    async with hosting(journal) as host:
        for n in range(40):
            await host.execute(command(c.CreatePipeline(SPEC), f"c{n}", PipelineId(f"p{n}")))
        before = {rest.pipeline_id: host.state(rest.pipeline_id) for rest in list(host.known())}
    seen = Seen()
    async with hosting(journal, seen) as host:
        after = {rest.pipeline_id: host.state(rest.pipeline_id) for rest in list(host.known())}
    assert after == before
    assert len(after) == 40
    assert seen.events == []


async def test_a_command_that_rests_in_a_snapshot_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A retry gets the first answer, and another command under its id none, as before."""
    monkeypatch.setattr(shard, "SNAPSHOT_EVENTS", 1)
    async with hosting(Memory()) as host:
        first = await host.execute(CREATE)
        await host.execute(command(c.StartPipeline(), "other"))
        assert await host.execute(CREATE) == first
        with pytest.raises(Rejected) as caught:
            await host.execute(replace(CREATE, digest=b"another"))
        assert caught.value.code == Code.COMMAND_ID_REUSED


@dataclass
class Stuck(Seen):
    """A projection that cannot write down what it is told."""

    asked: int = 0

    async def settled(self, shard: ShardId) -> None:
        self.asked += 1
        raise Unavailable("the views have stopped", code=Code.STORAGE)


class Unsaving(Memory):
    """A journal that takes no snapshot."""

    async def save_snapshot(self, held: Held, snapshot: Snapshot) -> None:
        raise Corrupted("the file is damaged")


@pytest.mark.parametrize(
    ("journal", "seen"), [(Memory(), Stuck()), (Unsaving(), Seen())], ids=["views", "journal"]
)
async def test_a_snapshot_that_fails_fails_no_command(
    monkeypatch: pytest.MonkeyPatch, journal: Memory, seen: Seen
) -> None:
    """Their append has returned: a caller told anything else asks for it once more."""
    monkeypatch.setattr(shard, "SNAPSHOT_EVENTS", 1)
    async with hosting(journal, seen) as host:
        assert (await host.execute(CREATE)).changed
        assert (await host.execute(command(c.StartPipeline()))).changed
    assert [one.event.sequence for one in seen.events] == [1, 2]


async def test_a_snapshot_that_failed_is_tried_again_as_many_events_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To encode a shard for each append in vain would slow down every command."""
    monkeypatch.setattr(shard, "SNAPSHOT_EVENTS", 10)
    seen = Stuck()
    async with hosting(Memory(), seen) as host:
        await host.execute(CREATE)
        tried = seen.asked
        for n in range(20):
            await host.execute(command(c.StartPipeline(), f"s{n}"))
        assert seen.asked == tried + 2


async def test_views_that_were_lost_are_told_everything_again() -> None:
    """They can be deleted; the journal is the truth."""
    journal = Memory()
    async with hosting(journal) as host:
        await host.execute(CREATE)
        await host.execute(command(c.StartPipeline()))
    seen = Seen(applied=0)
    async with hosting(journal, seen):
        pass
    assert [one.event.type for one in seen.events] == ["PipelineCreated", "PipelineStarted"]
    assert seen.events[-1].state.status is Status.RUNNING


async def test_a_log_that_ends_before_what_the_views_have_seen_is_not_served() -> None:
    """Views are told of durable events alone: what they have seen and the log has not is lost."""
    journal, seen = Memory(), Seen(applied=2)
    async with hosting(journal) as host:
        await host.execute(CREATE)
    held = await journal.acquire(shard_of(P, 4), Nonce("x"))
    with pytest.raises(Corrupted) as told:
        await shard.Shard(journal, held, Ticking(), seen).load()
    assert told.value.message == (
        f"the journal in memory, shard {held.shard}: its log ends at record 1, the views have seen"
        " record 2: acknowledged events are lost; restore the data directory from a backup, or"
        " remove views.db to go on with what is left"
    )
    assert seen.events == []


async def append_unreadable(journal: Memory, pipeline: PipelineId = P, shards: int = 4) -> None:
    """Journal an event as a newer release might, behind everything else of its shard."""
    held = await journal.acquire(shard_of(pipeline, shards), Nonce("x"))
    offset, payload = Offset(held.offset + 1), b"\xff\xff"
    sequence = SequenceNumber(len(journal.store.histories[pipeline]) + 1)
    odd = Record(
        offset, pipeline, sequence, "New", datetime(2026, 1, 1, tzinfo=UTC), "me",
        CommandId("c"), payload, link(held.head, offset, payload),
    )  # fmt: skip
    await journal.append(held, [odd], AppendId("odd"))


async def test_an_unreadable_event_quarantines_its_pipeline_alone() -> None:
    """One pipeline's odd event must not take its shard down."""
    journal = Memory()
    async with hosting(journal) as host:
        await host.execute(CREATE)
        await host.execute(command(c.CreatePipeline(SPEC), "other", NEIGHBOUR))
    await append_unreadable(journal)
    async with hosting(journal) as host:
        assert host.state(NEIGHBOUR).status is Status.CONFIGURED
        with pytest.raises(Corrupted):
            host.state(P)
        with pytest.raises(Corrupted):
            await host.execute(command(c.StartPipeline()))
        assert [resting.pipeline_id for resting in host.known()] == [NEIGHBOUR]


@pytest.mark.parametrize("snapshot_events", [1, 1_000])
async def test_a_quarantine_lasts_until_the_event_can_be_read(
    monkeypatch: pytest.MonkeyPatch, snapshot_events: int
) -> None:
    """A snapshot behind the event would hide it, and its sequence number be used again."""
    monkeypatch.setattr(shard, "SNAPSHOT_EVENTS", snapshot_events)
    journal = Memory()
    async with hosting(journal) as host:
        await host.execute(CREATE)
    await append_unreadable(journal)
    async with hosting(journal) as host:
        await host.execute(command(c.CreatePipeline(SPEC), "other", NEIGHBOUR))
        await host.execute(command(c.StartPipeline(), "start", NEIGHBOUR))
    async with hosting(journal) as host:
        assert host.state(NEIGHBOUR).status is Status.RUNNING
        with pytest.raises(Corrupted):
            await host.execute(command(c.StartPipeline()))
    assert [record.sequence for record in journal.store.histories[P]] == [1, 2]


async def test_a_release_that_can_read_the_event_ends_the_quarantine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The views are told of it too, though they have seen what came behind it."""
    journal = Memory()
    async with hosting(journal) as host:
        await host.execute(CREATE)
        await host.execute(command(c.StartPipeline()))
    journal.store.snapshots.clear()  # as a crash would have it

    def older(payload: bytes) -> e.Event:
        event = event_from(payload)
        if isinstance(event.body, e.PipelineStarted):
            raise Corrupted("unknown")
        return event

    with monkeypatch.context() as before_the_upgrade:
        before_the_upgrade.setattr("dataflow.cluster.shard.event_from", older)
        async with hosting(journal) as host:
            with pytest.raises(Corrupted):
                host.state(P)
            await host.execute(command(c.CreatePipeline(SPEC), "other", NEIGHBOUR))
    seen = Seen()
    async with hosting(journal, seen) as host:
        assert host.state(P).status is Status.RUNNING
    told = [one.event.type for one in seen.events if one.event.pipeline_id == P]
    assert told[-1] == "PipelineStarted"


async def test_going_back_in_time_is_looked_up_before_the_rule_is_asked() -> None:
    """Rules are pure: they are given old specs and checkpoints, they fetch none."""
    async with hosting(Memory()) as host:
        await host.execute(CREATE)
        await host.execute(command(c.UpdatePipeline(replace(SPEC, name="b")), "update"))
        back = await host.execute(command(c.RollbackPipeline(Version(1), with_checkpoint=True)))
        assert back.version == 3
        assert (await host.execute(command(c.ReplayPipeline(SequenceNumber(1))))).changed
        with pytest.raises(Rejected, match="audited"):
            await host.execute(command(c.ReplayPipeline(SequenceNumber(2)), "none"))
        answers = await host.execute_all([command(c.RollbackPipeline(Version(9)), "nine")])
        assert isinstance(answers[0], Rejected)


async def test_a_register_is_a_compare_and_set() -> None:
    """Two runs that decide the same checkpoint: one of them learns that it is old."""
    async with hosting(Memory()) as host:
        one, two = (
            Decision(P, Stamp(), Stamp(run, 1), b"x")  # type: ignore[arg-type]  # runs of a test
            for run in (1, 2)
        )
        outcomes = await asyncio.gather(host.decide(one), host.decide(two))  # noqa: TID251 - two at once
        assert sorted(outcome.accepted for outcome in outcomes) == [False, True]
        stored = await host.decision(P)
        assert stored is not None
        assert stored.payload == b"x"


async def test_too_many_waiting_commands_are_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A queue without a limit is memory without a limit."""
    monkeypatch.setattr("dataflow.cluster.owned.WAITING_MAX", 1)
    async with hosting(Memory()) as host:
        answers = await host.execute_all([CREATE, command(c.StartPipeline())])
        assert isinstance(answers[1], Unavailable)
