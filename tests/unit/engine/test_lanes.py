"""What the owner of a run in lanes hears of them, and what each of them hears."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataflow.core import messages as m
from dataflow.core.checkpoint import Checkpoint, SplitPosition, Stamp
from dataflow.core.errors import Code
from dataflow.core.events import ErrorType, PipelineError
from dataflow.core.ids import PipelineId, Run
from dataflow.core.spec import PipelineOptions, PipelineSpec
from dataflow.engine.lanes import Lanes

P = PipelineId("p")
ERROR = PipelineError(error_type=ErrorType.SINK, code=Code.STORAGE, message="gone")
SEEDED = Checkpoint(stamp=Stamp(Run(1), 4), seeded=True)


class Between:
    """Lanes between an owner and a worker, whose messages are kept."""

    def __init__(self) -> None:
        self.told: list[m.ToWorker] = []
        self.heard: list[m.ToOwner] = []
        self.lanes = Lanes(self.told.append, self.heard.append)

    def run(self, number: int = 1, lanes: int = 2, start: Checkpoint = SEEDED) -> None:
        """Have a run begin."""
        spec = PipelineSpec(options=PipelineOptions(parallelism=lanes))
        self.lanes.receive(m.RunTask(P, Run(number), spec, start))

    def since(self) -> tuple[list[m.ToWorker], list[m.ToOwner]]:
        """Return what was said since the last call."""
        said = list(self.told), list(self.heard)
        self.told.clear()
        self.heard.clear()
        return said


@pytest.fixture
def between() -> Between:
    """Return lanes that nobody has run yet."""
    return Between()


def opened(lane: int, held: Checkpoint | None = None, **pinned: str) -> m.Opened:
    """Return what a lane says first."""
    return m.Opened(P, Run(1), held, pinned, lane)


def test_a_run_of_one_task_passes_as_it_is(between: Between) -> None:
    """Nearly all runs are."""
    between.run(lanes=1)
    said: list[m.ToWorker] = [
        m.Barrier(P, Run(1), 5),
        m.Decided(P, Run(1), 5),
        m.Abandon(P, Run(1)),
    ]
    for message in said:
        between.lanes.receive(message)
    report = m.Exhausted(P, Run(1))
    between.lanes.hear(report)
    told, heard = between.since()
    assert told[1:] == said
    assert isinstance(told[0], m.RunTask)
    assert (told[0].lane, heard) == (0, [report])


def test_what_is_said_to_a_run_is_said_to_each_lane(between: Between) -> None:
    """Each has its own share of the checkpoint."""
    read = {f"t:{n}": SplitPosition("{}", n) for n in range(4)}
    between.run(start=replace(SEEDED, positions=read))
    between.lanes.receive(m.Barrier(P, Run(1), 5, final=True))
    between.lanes.receive(m.Decided(P, Run(1), 5))
    (first, second, *rest), _ = between.since()
    assert isinstance(first, m.RunTask)
    assert isinstance(second, m.RunTask)
    assert (first.lane, second.lane) == (1, 2)
    assert {**first.checkpoint.positions, **second.checkpoint.positions} == read
    assert len(first.checkpoint.positions) == 2
    both = [m.Barrier(P, Run(1), 5, final=True, lane=lane) for lane in (1, 2)]
    assert rest == [*both, *(m.Decided(P, Run(1), 5, lane) for lane in (1, 2))]


def test_the_owner_hears_what_all_lanes_have_said_once(between: Between) -> None:
    """A run is open, prepared, committed or exhausted when all its lanes are."""
    between.run()
    between.since()
    lasting: list[tuple[m.ToOwner, m.ToOwner]] = [
        (opened(1), opened(2)),
        (m.Prepared(P, Run(1), SEEDED, 1), m.Prepared(P, Run(1), SEEDED, 2)),
        (m.Committed(P, Run(1), 5, 1), m.Committed(P, Run(1), 5, 2)),
        (m.Exhausted(P, Run(1), 2), m.Exhausted(P, Run(1), 1)),
        (m.Prepared(P, Run(1), SEEDED, 2), m.Prepared(P, Run(1), SEEDED, 1)),
    ]
    for one, other in lasting:
        between.lanes.hear(one)
        assert between.since() == ([], [])
        between.lanes.hear(other)
        _, (whole,) = between.since()
        assert type(whole) is type(one)
        assert whole.lane == 0


def test_decisions_that_are_apart_are_told_together(between: Between) -> None:
    """The register is one behind the lane that has decided, and takes it up."""
    between.run()
    ahead = replace(SEEDED, stamp=Stamp(Run(1), 5), positions={"t:1": SplitPosition("{}", 9)})
    between.lanes.hear(opened(2, ahead))
    between.lanes.hear(opened(1, SEEDED))
    _, (whole,) = between.since()
    assert isinstance(whole, m.Opened)
    assert whole.checkpoint is not None
    assert whole.checkpoint.stamp.number == 5
    assert whole.checkpoint.positions == ahead.positions


def test_a_run_is_not_seeded_before_the_register_says_so(between: Between) -> None:
    """One lane's sink may have decided its seed; rows of it must wait for the others' seeds."""
    between.run(start=Checkpoint())
    between.lanes.hear(opened(1, SEEDED))
    between.lanes.hear(opened(2, SEEDED))
    _, (whole,) = between.since()
    assert isinstance(whole, m.Opened)
    assert whole.checkpoint is not None
    assert not whole.checkpoint.seeded


def test_a_run_that_has_ended_is_forgotten(between: Between) -> None:
    """It may never come again: its pipeline is deleted, or another node's."""
    between.run()
    between.lanes.receive(m.Barrier(P, Run(1), 5, final=True))
    between.since()
    for lane in (1, 2):
        between.lanes.hear(m.Committed(P, Run(1), 5, lane))
    assert between.since()[1] == [m.Committed(P, Run(1), 5)]
    between.lanes.hear(m.Committed(P, Run(1), 5, 1))
    between.lanes.receive(m.Decided(P, Run(1), 5))
    assert between.since() == ([m.Decided(P, Run(1), 5)], [])


def test_a_first_lane_that_fails_at_once_starts_no_other() -> None:
    """A task too large to be sent to a process has failed before the call returns."""
    told: list[m.ToWorker] = []
    heard: list[m.ToOwner] = []

    def tell(message: m.ToWorker) -> None:
        told.append(message)
        if isinstance(message, m.RunTask):
            lanes.hear(m.Failed(P, Run(1), ERROR, message.lane))

    lanes = Lanes(tell, heard.append)
    spec = PipelineSpec(options=PipelineOptions(parallelism=2))
    lanes.receive(m.RunTask(P, Run(1), spec, SEEDED))
    assert [type(message) for message in told] == [m.RunTask, m.Abandon, m.Abandon]
    assert heard == [m.Failed(P, Run(1), ERROR)]


def test_a_lineage_begins_with_the_first_lane(between: Between) -> None:
    """What a source finds there, a schema for one, the others go by; they are seeded after it."""
    between.run(start=Checkpoint())
    (first,), _ = between.since()
    between.lanes.hear(opened(1, None, source='{"columns":1}'))
    (second,), _ = between.since()
    assert isinstance(first, m.RunTask)
    assert isinstance(second, m.RunTask)
    assert (first.lane, second.lane) == (1, 2)
    assert second.checkpoint.pinned == {"source": '{"columns":1}'}
    between.lanes.hear(opened(2))
    between.since()
    between.lanes.receive(m.Barrier(P, Run(1), 1))
    assert between.since()[0] == [m.Barrier(P, Run(1), 1, lane=1)]
    between.lanes.hear(m.Prepared(P, Run(1), SEEDED, 1))
    assert between.since()[0] == [m.Barrier(P, Run(1), 1, lane=2)]
    between.lanes.hear(m.Prepared(P, Run(1), SEEDED, 2))
    between.since()
    between.lanes.receive(m.Barrier(P, Run(1), 2))
    assert between.since()[0] == [m.Barrier(P, Run(1), 2, lane=lane) for lane in (1, 2)]


def test_a_lane_that_fails_ends_the_run(between: Between) -> None:
    """Once; what the others say of it afterwards is nobody's business."""
    between.run()
    between.since()
    between.lanes.hear(m.Failed(P, Run(1), ERROR, 2))
    told, heard = between.since()
    assert told == [m.Abandon(P, Run(1), lane) for lane in (1, 2)]
    assert heard == [m.Failed(P, Run(1), ERROR)]
    between.lanes.hear(m.Failed(P, Run(1), ERROR, 1))
    between.lanes.hear(m.Prepared(P, Run(1), SEEDED, 1))
    assert between.since() == ([], [])


def test_a_later_run_takes_the_place_of_all_lanes(between: Between) -> None:
    """It may have fewer; an older one has come too late."""
    between.run(2, lanes=3)
    between.since()
    between.run(1)
    assert between.since() == ([], [])
    between.run(3, lanes=1)
    told, _ = between.since()
    assert told[:-1] == [m.Abandon(P, Run(2), lane) for lane in (1, 2, 3)]
    assert (told[-1].run, told[-1].lane) == (3, 0)
    between.lanes.hear(m.Committed(P, Run(2), 1, 1))
    assert between.since() == ([], [])


def test_progress_is_that_of_all_lanes(between: Between) -> None:
    """A run waits if one of its lanes does, and knows its lag if all know theirs."""
    between.run()
    between.lanes.hear(m.Progress(P, Run(1), m.Phase.WAITING, "t:1", 3, 5, -1, 1, lane=1))
    between.lanes.hear(m.Progress(P, Run(1), m.Phase.PROCESSING, "", 4, 6, 7, 2, lane=2))
    assert between.since()[1][-1] == m.Progress(P, Run(1), m.Phase.WAITING, "t:1", 7, 11, -1, 3)


def test_no_lane_is_told_anything_of_another_run(between: Between) -> None:
    """The worker would ignore it; so would each lane."""
    between.run(2)
    between.since()
    between.lanes.receive(m.Barrier(P, Run(1), 5))
    told, _ = between.since()
    assert [message.lane for message in told] == [0]
