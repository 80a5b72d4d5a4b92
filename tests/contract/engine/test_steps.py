"""What the engine asks of steps, and what it keeps for those that have a state."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from pathlib import Path

import pytest

from dataflow.core.errors import Code
from dataflow.core.events import ErrorType
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, Source, Transform, canonical
from dataflow.engine.objects import Objects
from tests.contract.engine.owner import PIPELINE, Broken, Owner, Points
from tests.contract.engine.steps import REGISTRY, ROWS
from tests.contract.engine.test_sinks import KINDS, survives

SOON = timedelta(milliseconds=50)
SLOW = '{"takesS": 0.5}'


def timed(root: Path, transform: Transform, sink_options: str = "{}") -> Owner:
    """Return the owner of a pipeline whose batches may take a moment only."""
    spec = PipelineSpec(
        source=Source("numbers", batch_size=ROWS),
        transforms=(transform,),
        sink=Sink("telling", str(root / "held"), options=sink_options),
        options=PipelineOptions(batch_timeout=SOON),
    )
    return Owner(REGISTRY, canonical(spec), root / "objects")


async def test_a_transform_that_takes_too_long_fails_the_run(tmp_path: Path) -> None:
    """A loop without an end would hold the pipeline, and nobody would hear of it."""
    owner = timed(tmp_path, Transform("t", "passing", options=SLOW))
    with pytest.raises(Broken, match="in the transforms") as caught:
        await owner.live(Points())
    assert (caught.value.error.code, caught.value.error.step) == (Code.BATCH_TIMED_OUT, "t")


async def test_a_sink_that_takes_too_long_fails_the_run(tmp_path: Path) -> None:
    """A server that takes rows and never answers is one to connect to again."""
    owner = timed(tmp_path, Transform("t", "passing"), SLOW)
    with pytest.raises(Broken) as caught:
        await owner.live(Points())
    assert (caught.value.error.code, caught.value.error.step) == (Code.BATCH_TIMED_OUT, "sink")


async def test_a_transform_that_loses_a_row_fails_the_run(tmp_path: Path) -> None:
    """A ledger that does not balance is a bug: to go on would hide it for ever."""
    owner = timed(tmp_path, Transform("t", "passing", options='{"loses": 1}'))
    with pytest.raises(Broken) as caught:
        await owner.live(Points())
    error = caught.value.error
    assert (error.code, error.error_type, error.step) == (Code.INTERNAL, ErrorType.TRANSFORM, "t")


async def test_a_sink_is_given_no_more_rows_at_once_than_its_batch_size(tmp_path: Path) -> None:
    """A server refuses a request that is too large, however much is read at once."""
    spec = PipelineSpec(
        source=Source("numbers", batch_size=8),
        sink=Sink("telling", str(tmp_path / "held"), batch_size=3),
    )
    points = Points()
    await Owner(REGISTRY, canonical(spec), tmp_path / "objects").live(points)
    given = [int(name.removeprefix("given ")) for name in points.names if name.startswith("given")]
    assert given == [3, 3, 2, 3, 1]


async def chain(objects: Objects, name: str) -> list[str]:
    """Return the objects that hold a state, from the name that a checkpoint has for it."""
    header = json.loads((await objects.get(name)).partition(b"\n")[0])
    return sorted([*header["before"], name])


@pytest.mark.parametrize("name", ["staging", "transactional"])
async def test_broken_at_every_point_the_next_run_goes_on_with_the_states_of_its_transforms(
    name: str, tmp_path: Path
) -> None:
    """A state belongs to the positions it was decided with; older ones are only in the way."""
    kind, at, ended = KINDS[name], 0, False
    while not ended:
        root = tmp_path / str(at)
        root.mkdir()
        spec = PipelineSpec(
            source=Source("numbers", batch_size=1),
            transforms=(Transform("total", "running-total"),),
            sink=Sink(kind.sink, str(root / kind.target)),
            options=PipelineOptions(checkpoint_rows=2),
        )
        owner = Owner(REGISTRY, canonical(spec), root / "objects")
        ended = await survives(owner, Points(at))
        if not ended:
            await owner.live(Points())
        assert sorted(kind.visible(root / kind.target)) == [*itertools.accumulate(range(ROWS))]
        assert owner.stored is not None
        await owner.live(
            Points()
        )  # What a run wrote while it was dropped, the next but one sweeps.
        objects = Objects.local(owner.root)
        named = await chain(objects, owner.stored.states["total"])
        assert await objects.keys(f"states/{PIPELINE}") == named
        at += 1
