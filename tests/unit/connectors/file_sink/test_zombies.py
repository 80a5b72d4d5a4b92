"""Two runs of one pipeline, or two pipelines, that mean the same file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataflow.connect import Corrupted, Fenced, Rejected, Unavailable
from dataflow.connectors.file import sink
from tests.unit.connectors.file_sink.rig import ROWS, Killed, Rig, batch_of, kill

STAGED = {
    "parquet": Rig(Path("out.parquet")),
    "csv parts": Rig(Path("out"), {"format": "csv"}),
    "parquet parts": Rig(Path("out"), {"format": "parquet"}),
}
EVERY = {"csv": Rig(Path("out.csv")), **STAGED}
ALL = [*range(ROWS)]


def rig_of(mode: str, folder: Path) -> Rig:
    """Return a fresh pipeline of a mode."""
    return EVERY[mode].fresh(folder)


def stages(rig: Rig) -> list[str]:
    """Return the names of what is staged."""
    folder = rig.target / ".stage" if rig.target.suffix == "" else rig.target.parent
    return sorted(p.name for p in folder.iterdir() if f"{rig.pipeline}.0." in p.name)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "LOCK_POLL_S", 0.001)


@pytest.mark.parametrize("mode", STAGED)
async def test_discarding_leaves_stages_of_the_same_and_of_larger_runs(
    mode: str, tmp_path: Path
) -> None:
    """The caller may be the zombie, and the stages those that its successor has journalled."""
    rig = rig_of(mode, tmp_path)
    await rig.live(final=False, checkpoints=1)
    staged = stages(rig)
    zombie = rig.sink()
    await zombie.discard(rig.task(rig.run - 1), None)
    await zombie.discard(rig.task(rig.run), None)
    await zombie.close()
    assert staged
    assert stages(rig) == staged


@pytest.mark.parametrize("mode", STAGED)
async def test_discarding_drops_what_smaller_runs_staged_but_not_what_is_kept(
    mode: str, tmp_path: Path
) -> None:
    """What was staged and never decided would stay for ever; what was decided is the output."""
    rig = rig_of(mode, tmp_path)
    await rig.live(final=False, checkpoints=1)
    staged = stages(rig)
    successor = rig.sink()
    await successor.discard(rig.task(rig.run + 1), rig.last)
    kept = stages(rig)
    await successor.discard(rig.task(rig.run + 1), None)
    await successor.close()
    assert (kept, stages(rig)) == (staged, [])


@pytest.mark.parametrize("mode", STAGED)
async def test_discarding_leaves_what_other_pipelines_stage(mode: str, tmp_path: Path) -> None:
    """Their runs are numbered by another shard's log and compare with nothing."""
    rig = rig_of(mode, tmp_path)
    await rig.live(final=False, checkpoints=1)
    staged = stages(rig)
    other = replace(rig, pipeline="q").sink()
    await other.discard(replace(rig, pipeline="q").task(rig.run + 5), None)
    await other.close()
    assert stages(rig) == staged


@pytest.mark.parametrize("mode", STAGED)
async def test_two_runs_never_stage_under_one_name(mode: str, tmp_path: Path) -> None:
    """A zombie that wakes up must find no file of its successor's to write into."""
    rig = rig_of(mode, tmp_path)
    rig.run = 20
    first, second = rig.task(21), rig.task(22)
    names = set()
    for task in (first, second):
        writer = rig.sink()
        await writer.open(task, None)
        rig.decided = (await writer.prepare(0, final=False)).model_dump_json()
        await writer.write(batch_of(0, 5))
        await writer.prepare(1, final=False)
        names |= set(stages(rig))
        kill(writer)
    assert len(names) == 2


@pytest.mark.parametrize("mode", EVERY)
async def test_a_run_waits_for_the_lock_and_then_says_who_is_in_the_way(
    mode: str, tmp_path: Path
) -> None:
    """A former worker may still be writing; the engine tries again."""
    rig = rig_of(mode, tmp_path)
    holder, waiter = rig.sink(), rig.sink()
    await holder.open(rig.task(), None)
    with pytest.raises(Unavailable, match=str(rig.target)):
        await waiter.open(rig.task(rig.run + 1), None)
    await waiter.close()
    await holder.close()


@pytest.mark.parametrize("mode", EVERY)
async def test_a_second_pipeline_is_kept_out_while_the_first_writes(
    mode: str, tmp_path: Path
) -> None:
    """Two pipelines that write one file would cut each other's rows."""
    rig = rig_of(mode, tmp_path)
    first = rig.sink()
    await first.open(rig.task(), None)
    second = replace(rig, pipeline="q", options={**rig.options, "ifExists": "replace"})
    with pytest.raises(Unavailable, match="another writer"):
        await (waiter := second.sink()).open(second.task(), None)
    await waiter.close()
    await first.close()


@pytest.mark.parametrize("mode", EVERY)
async def test_a_run_that_sleeps_through_its_successors_life_stops_before_it_cuts(
    mode: str, tmp_path: Path
) -> None:
    """The lock is free by then; the record in it is what stops the sleeper."""
    rig = rig_of(mode, tmp_path)
    await rig.live(final=False, checkpoints=1)
    then = rig.last
    sleeper = rig.sink()
    await rig.live(final=False, checkpoints=1)
    with pytest.raises(Fenced):
        await sleeper.open(rig.task(rig.run - 1), then)
    await sleeper.close()
    await rig.live()
    assert rig.visible() == ALL


async def test_replacing_again_from_an_old_seed_removes_none_of_our_parts(tmp_path: Path) -> None:
    """A run that slept from its start to its successor's end still has the seed in its hands."""
    first = rig_of("csv parts", tmp_path)
    await first.live()
    options = {**first.options, "ifExists": "replace"}
    rig = replace(first, options=options, lineage=2, decided="", decided_rows=0)
    await rig.live(final=False, checkpoints=0)
    seed = rig.last
    await rig.live()
    sleeper = rig.sink()
    await sleeper.open(rig.task(rig.run - 1), seed)
    await sleeper.close()
    assert seed
    assert (seed.replaces, rig.visible()) == (True, ALL)


async def test_a_file_that_another_pipeline_wrote_to_since_is_not_cut(tmp_path: Path) -> None:
    """Its rows lie behind our decided length, where a recovery cuts."""
    rig = rig_of("csv", tmp_path)
    await rig.live()
    other = replace(rig, pipeline="q", decided="", decided_rows=0, options={"ifExists": "append"})
    await other.live()
    with pytest.raises(Rejected, match="'q' has written") as raised:
        await rig.live()
    assert raised.value.code == "SINK_CHANGED"
    assert rig.visible() == [*ALL, *ALL]


@pytest.mark.parametrize("mode", STAGED)
async def test_committing_again_shows_nothing_twice(mode: str, tmp_path: Path) -> None:
    """Every run begins with the commit of the last decision, done or not."""
    rig = rig_of(mode, tmp_path)
    await rig.live()
    assert rig.last
    again = rig.sink()
    await again.commit(rig.last)
    await again.commit(rig.last)
    await again.close()
    assert rig.visible() == ALL


@pytest.mark.parametrize("mode", STAGED)
async def test_an_instance_that_never_saw_the_rows_shows_what_is_decided(
    mode: str, tmp_path: Path
) -> None:
    """The writer died between the decision and its commit; the next run commits before it opens."""
    counted = rig_of(mode, tmp_path / "count")
    await counted.live()
    rig = rig_of(mode, tmp_path / "out")
    last_decision = len(counted.points) - 1 - counted.points[::-1].index("engine.decided")
    rig.kill_at = last_decision
    with pytest.raises(Killed):
        await rig.live()
    assert rig.visible() != ALL
    assert rig.last
    successor = rig.sink()
    rig.kill_at = -1
    await successor.commit(rig.last)
    await successor.close()
    assert rig.visible() == ALL


@pytest.mark.parametrize("mode", EVERY)
async def test_a_file_cut_below_its_decided_length_stops_the_pipeline(
    mode: str, tmp_path: Path
) -> None:
    """Somebody has cut what was decided; writing on would leave a hole."""
    rig = rig_of(mode, tmp_path)
    await rig.live(final=False, checkpoints=1)
    staged = rig.target.parent / ".stage" if rig.target.suffix else rig.target / ".stage"
    folder = rig.target.parent if rig.target.suffix else staged
    for name in [rig.target.name] if mode == "csv" else stages(rig):
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    with pytest.raises(Corrupted, match="are decided"):
        await rig.live()


@pytest.mark.parametrize("mode", STAGED)
async def test_somebody_elses_file_is_never_overwritten(mode: str, tmp_path: Path) -> None:
    """It came while the pipeline ran; the decided rows wait until it is moved away."""
    rig = rig_of(mode, tmp_path)
    extension = mode.removesuffix(" parts")
    final = rig.target if rig.target.suffix else rig.target / f"part-1-000001.{extension}"

    def appears(name: str) -> None:
        if name == "engine.prepared" and rig.decided:
            final.write_text("mine")

    rig.at_point = appears
    with pytest.raises(Unavailable, match="move it away"):
        await rig.live()
    assert final.read_text() == "mine"
    final.unlink()
    rig.at_point = lambda _: None
    await rig.live()
    assert rig.visible() == ALL


async def test_a_failed_write_lets_nothing_follow(tmp_path: Path) -> None:
    """The stage ends in half a row until a new run cuts it."""
    rig = rig_of("csv parts", tmp_path)
    writer = rig.sink()
    await writer.open(rig.task(), None)
    await writer.prepare(0, final=False)
    rig.kill_at = len(rig.points)
    with pytest.raises(Killed):
        await writer.write(batch_of(0, 5))
    with pytest.raises(Unavailable, match="nothing can follow"):
        await writer.prepare(1, final=False)
    await writer.close()
