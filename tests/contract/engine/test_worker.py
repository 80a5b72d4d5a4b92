"""A worker as its owners see it: by messages alone, each of one run.

In the process of its owners or in one of its own, it is the same worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import pytest

from dataflow.connect import Context, Options, Registry, SinkSpec
from dataflow.connect.testkit.places import Clock
from dataflow.core import messages as m
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.ids import Lineage, Run, SplitId
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.engine import told as told_module
from dataflow.engine.objects import Objects
from dataflow.engine.processes.messages import Answer, Question
from dataflow.engine.processes.pool import Processes
from dataflow.engine.processes.process import Node, Program
from dataflow.engine.worker import Surroundings, Worker
from tests.contract.connect.places import ids_of_files
from tests.contract.engine import process
from tests.contract.engine.owner import PATIENCE_S, PIPELINE
from tests.contract.engine.steps import LAG, REGISTRY, ROWS
from tests.contract.engine.test_sinks import FILES, KINDS, owner_of, pipeline, registry

T = TypeVar("T", bound=m.ToOwner)

PROCESS_PATIENCE_S = 60.0
"""A process imports everything anew, on a machine that tests keep busy."""


class Receiver(Protocol):
    """A worker, wherever it is."""

    def receive(self, message: m.ToWorker) -> None: ...


Way: TypeAlias = Callable[..., AbstractAsyncContextManager["Line"]]
"""Opens a line: ``line``, or ``process_line``."""


@dataclass
class Line:
    """A worker and what it has said."""

    worker: Receiver
    heard: asyncio.Queue[m.ToOwner]
    passed: Callable[[], list[str]]

    @property
    def points(self) -> list[str]:
        """Return the points that it has passed."""
        return self.passed()

    def start(self, run: int, spec: PipelineSpec, checkpoint: Checkpoint) -> None:
        """Ask for a run."""
        self.worker.receive(m.RunTask(PIPELINE, Run(run), spec, checkpoint))

    async def next(self, kind: type[T]) -> T:
        """Return the next message of a kind; reports of progress may come in between."""
        while True:
            message = await self.heard.get()
            if isinstance(message, kind):
                return message
            assert isinstance(message, m.Progress | m.Exhausted | m.CheckpointDue), message

    async def prepare(self, number: int, *, final: bool = False) -> Checkpoint:
        """Have a checkpoint of run 7 prepared."""
        self.worker.receive(m.Barrier(PIPELINE, Run(7), number, final))
        prepared = (await self.next(m.Prepared)).checkpoint
        assert prepared.stamp.number == number
        return prepared

    async def commit(self, number: int) -> None:
        """Have a decided checkpoint of run 7 committed."""
        self.worker.receive(m.Decided(PIPELINE, Run(7), number))
        await self.next(m.Committed)


@asynccontextmanager
async def line(
    root: Path,
    *more: SinkSpec[Options],
    steps: Registry | None = None,
    probe: Callable[[str], None] = lambda _: None,
) -> AsyncGenerator[Line, None]:
    """Return a worker over a folder; ``more`` are sinks beside the usual ones."""
    heard: asyncio.Queue[m.ToOwner] = asyncio.Queue()
    points: list[str] = []

    def pass_by(point: str) -> None:
        points.append(point)
        probe(point)

    around = Surroundings(
        registry=steps or registry(*more),
        contexts=lambda pipeline, step: Context(
            pipeline, step, Clock(), lambda text: text, Path, probe=pass_by
        ),
        objects=Objects.local(root / "objects"),
        clock=Clock(),
        send=heard.put_nowait,
        probe=pass_by,
    )
    async with asyncio.timeout(PATIENCE_S), Worker.open(around) as worker:
        yield Line(worker, heard, lambda: points)


@asynccontextmanager
async def process_line(root: Path, *, steps: Registry | None = None) -> AsyncGenerator[Line, None]:
    """Return a worker in a process of its own, over the same folder and steps."""
    heard: asyncio.Queue[m.ToOwner] = asyncio.Queue()
    node = Node(heard.put_nowait, no_questions, lambda *_: None)
    program = Program(process.COMMAND, process.settings(root, telling=steps is REGISTRY))
    async with (
        asyncio.timeout(PROCESS_PATIENCE_S),
        Processes.open(program, 1, node) as processes,
    ):
        yield Line(processes, heard, lambda: process.points_in(root))


async def no_questions(question: Question) -> Answer:
    """Refuse: nothing here is pushed."""
    raise AssertionError(question)


@pytest.fixture(params=[line, process_line], ids=["inline", "a process"])
def way(request: pytest.FixtureRequest) -> Way:
    """Where the worker is."""
    way: Way = request.param
    return way


SEED = Checkpoint(lineage=Lineage(1))


async def test_a_whole_run_by_messages(way: Way, tmp_path: Path) -> None:
    """RunTask, Opened, Barrier, Prepared, Decided, Committed: first the seed, then the rows."""
    spec = owner_of(KINDS["staging"], tmp_path).spec
    async with way(tmp_path) as said:
        said.start(7, spec, SEED)
        assert await said.next(m.Opened) == m.Opened(PIPELINE, Run(7), None)
        for number, final in ((1, False), (2, True)):
            if final:
                await said.next(m.Exhausted)
            said.worker.receive(m.Barrier(PIPELINE, Run(7), number, final))
            prepared = await said.next(m.Prepared)
            assert (prepared.checkpoint.stamp.run, prepared.checkpoint.stamp.number) == (7, number)
            assert prepared.checkpoint.seeded
            assert ids_of_files(tmp_path / "out") == []
            said.worker.receive(m.Decided(PIPELINE, Run(7), number))
            assert await said.next(m.Committed) == m.Committed(PIPELINE, Run(7), number)
    assert sorted(ids_of_files(tmp_path / "out")) == FILES.kept


async def test_messages_of_another_run_change_nothing(way: Way, tmp_path: Path) -> None:
    """They were sent to a task that is no more, or by an owner that is none any more."""
    spec = owner_of(KINDS["staging"], tmp_path).spec
    async with way(tmp_path) as said:
        said.start(7, spec, SEED)
        await said.next(m.Opened)
        for run in (6, 8):
            said.worker.receive(m.Barrier(PIPELINE, Run(run), 9))
            said.worker.receive(m.Decided(PIPELINE, Run(run), 9))
            said.worker.receive(m.Abandon(PIPELINE, Run(run)))
        said.start(6, spec, SEED)
        said.worker.receive(m.Barrier(PIPELINE, Run(7), 1))
        assert (await said.next(m.Prepared)).checkpoint.stamp.number == 1


async def test_an_abandoned_run_is_heard_of_no_more_and_the_next_one_begins(
    way: Way,
    tmp_path: Path,
) -> None:
    """Its sink has let go by then: the next run takes the same target."""
    spec = owner_of(KINDS["staging"], tmp_path).spec
    async with way(tmp_path) as said:
        said.start(7, spec, SEED)
        await said.next(m.Opened)
        said.worker.receive(m.Abandon(PIPELINE, Run(7)))
        said.start(8, spec, SEED)
        assert (await said.next(m.Opened)).run == 8
        said.worker.receive(m.Barrier(PIPELINE, Run(8), 1))
        assert (await said.next(m.Prepared)).run == 8


async def test_a_larger_run_takes_over_from_the_one_that_is_running(
    way: Way, tmp_path: Path
) -> None:
    """An owner that lost its answers starts anew; two tasks of a pipeline never write at once."""
    kind = KINDS["transactional"]
    spec = owner_of(kind, tmp_path).spec
    async with way(tmp_path) as said:
        said.start(7, spec, SEED)
        await said.next(m.Opened)
        said.start(9, spec, SEED)
        assert (await said.next(m.Opened)).run == 9
        said.worker.receive(m.Barrier(PIPELINE, Run(7), 1))
        said.worker.receive(m.Barrier(PIPELINE, Run(9), 1))
        assert (await said.next(m.Prepared)).run == 9


async def test_a_decision_is_kept_where_the_worker_is_gone_before_it_hears_of_it(
    way: Way,
    tmp_path: Path,
) -> None:
    """The next worker has nothing but the checkpoint, and publishes what it names."""
    spec = owner_of(KINDS["staging"], tmp_path).spec
    async with way(tmp_path) as said:
        said.start(7, spec, SEED)
        await said.next(m.Opened)
        said.worker.receive(m.Barrier(PIPELINE, Run(7), 1))
        await said.next(m.Prepared)
        said.worker.receive(m.Decided(PIPELINE, Run(7), 1))
        await said.next(m.Committed)
        await said.next(m.Exhausted)
        said.worker.receive(m.Barrier(PIPELINE, Run(7), 2, final=True))
        decided = (await said.next(m.Prepared)).checkpoint
    async with way(tmp_path) as said:
        said.start(8, spec, decided)
        await said.next(m.Opened)
        assert sorted(ids_of_files(tmp_path / "out")) == FILES.kept


async def test_a_source_that_is_not_there_is_waited_for_with_its_reason(
    way: Way, tmp_path: Path
) -> None:
    """No failure and no attempt: somebody will put it there."""
    folder = tmp_path / "in"
    source = Source("lines", str(folder), poll_interval_ms=10)
    spec = pipeline(KINDS["staging"], source, tmp_path / "out")
    async with way(tmp_path) as said:
        said.start(7, spec, SEED)
        waiting = await said.next(m.Progress)
        assert (waiting.phase, waiting.detail) == (
            m.Phase.WAITING,
            f"there is no directory {folder}",
        )
        folder.mkdir()
        await said.next(m.Opened)


async def test_a_run_that_cannot_open_says_whose_fault_it_is(way: Way, tmp_path: Path) -> None:
    """The error names the step; the caller has to change something, so it is not retried."""
    kind = KINDS["staging"]
    owner = owner_of(kind, tmp_path)
    (tmp_path / "out").write_text("a file where a directory belongs")
    async with way(tmp_path) as said:
        said.start(7, owner.spec, SEED)
        failed = await said.next(m.Failed)
        assert (failed.run, failed.error.step, failed.error.error_type) == (7, "sink", "sink")


async def test_a_record_that_cannot_be_handled_fails_the_run_with_its_name(
    way: Way,
    tmp_path: Path,
) -> None:
    """Unless the step says otherwise: split, ordinal, reason and remedy are in the message."""
    owner = owner_of(KINDS["staging"], tmp_path)
    step = owner.spec.transforms[0]
    strict = type(step)(step.id, "map", step.inputs, step.options.replace("dead-letter", "fail"))
    spec = pipeline(KINDS["staging"], owner.spec.sources["source"], tmp_path / "out", strict)
    async with way(tmp_path) as said:
        said.start(7, spec, SEED)
        await said.next(m.Opened)
        said.worker.receive(m.Barrier(PIPELINE, Run(7), 1))
        await said.next(m.Prepared)
        said.worker.receive(m.Decided(PIPELINE, Run(7), 1))
        await said.next(m.Committed)
        failed = (await said.next(m.Failed)).error
        assert (failed.step, failed.code, failed.retryable) == ("shape", "RECORD_REJECTED", False)
        assert "record 4 of 'a.txt'" in failed.message
        assert "'bad' is no int64" in failed.message
        assert "onError" in failed.message


async def seeded(said: Line, root: Path, source: str = "numbers") -> None:
    """Begin run 7 of a pipeline whose steps tell what the engine asks of them."""
    of = Source(source, batch_size=ROWS)
    spec = canonical(PipelineSpec(source=of, sink=Sink("telling", str(root / "held"))))
    said.start(7, spec, SEED)
    await said.next(m.Opened)
    await said.prepare(1)
    await said.commit(1)


async def test_a_source_hears_how_far_it_is_decided_after_each_decision_and_never_before(
    way: Way,
    tmp_path: Path,
) -> None:
    """Upstream forgets what is acknowledged: a crash before the decision would lose it."""

    def acknowledged() -> list[str]:
        return [point for point in said.points if point.startswith("acknowledged")]

    async with way(tmp_path, steps=REGISTRY) as said:
        await seeded(said, tmp_path)
        await said.next(m.Exhausted)
        for decided in (1, 2):
            before = acknowledged()
            await said.prepare(decided + 1)
            assert acknowledged() == before
            await said.commit(decided + 1)
            assert acknowledged() == [f"acknowledged {ROWS}"] * decided


async def test_a_position_that_moves_without_a_record_is_told_and_no_batch(
    way: Way, tmp_path: Path
) -> None:
    """What upstream holds for it is let go by a decision, and nothing else asks for one."""
    async with way(tmp_path, steps=REGISTRY) as said:
        await seeded(said, tmp_path, "still")
        while not (await said.next(m.Progress)).positions_moved:
            pass
        moved = await said.prepare(2)
        assert moved.positions[SplitId("numbers")].position == '{"row":3}'
        assert (moved.totals.batches, moved.totals.last_processed_at) == (0, None)


async def test_progress_says_how_far_the_source_is_behind(way: Way, tmp_path: Path) -> None:
    """The metrics that people scale by come from nowhere else."""
    async with way(tmp_path, steps=REGISTRY) as said:
        await seeded(said, tmp_path)
        told = await said.next(m.Progress)
        assert (told.lag_records, told.lag_bytes) == LAG


async def test_a_run_says_that_it_drains_while_its_last_checkpoint_closes(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked for a stop sees that it is under way, also behind a slow sink."""
    monkeypatch.setattr(told_module, "PROGRESS_EVERY_S", 0.01)
    async with way(tmp_path, steps=REGISTRY) as said:
        await seeded(said, tmp_path)
        (tmp_path / "held").touch()
        said.worker.receive(m.Barrier(PIPELINE, Run(7), 2, final=True))
        async with asyncio.timeout(5):
            while (await said.next(m.Progress)).phase is not m.Phase.DRAINING:
                pass
        (tmp_path / "held").unlink()
        await said.next(m.Prepared)
