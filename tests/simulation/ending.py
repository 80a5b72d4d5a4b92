"""What must be true when peace has come: of commands, of reads, of rows."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from dataflow.core.events import Event
from dataflow.core.ids import CommandId, PipelineId
from dataflow.core.lifecycle import COMPLETED, evolve
from dataflow.core.state import State, Status
from dataflow.wire.journalled import event_from
from tests.simulation.clients import Asked
from tests.simulation.workers import Outlet

if TYPE_CHECKING:
    from tests.simulation.world import World


def check_ending(world: World) -> None:
    """Compare all that anybody was told with the journal, and the sinks with the sources."""
    history = _history(world)
    states = {pipeline: _states(pipeline, events) for pipeline, events in history.items()}
    _check_commands(world, history)
    _check_reads(world, states)
    for pipeline in world.pipelines:
        _check_rows(world, pipeline, states.get(pipeline, [State()])[-1])


def _history(world: World) -> dict[PipelineId, list[Event]]:
    found: dict[PipelineId, list[Event]] = defaultdict(list)
    for log in world.journal.store.logs.values():
        for record in log:
            event = event_from(record.payload)
            events = found[event.pipeline_id]
            if event.sequence != len(events) + 1:
                world.broken(f"{event.pipeline_id}: event {event.sequence} follows {len(events)}")
            events.append(event)
    return found


def _states(pipeline: PipelineId, events: list[Event]) -> list[State]:
    states = [State(pipeline_id=pipeline)]
    for event in events:
        states.append(evolve(states[-1], event))
    return states


def _check_commands(world: World, history: dict[PipelineId, list[Event]]) -> None:
    """I3: an acknowledged command is there once, a refused one never, any other at most once."""
    times: dict[CommandId, list[int]] = defaultdict(list)
    for event in chain.from_iterable(history.values()):
        if event.command_digest:
            times[event.command_id].append(event.sequence)
    for asked in chain.from_iterable(client.asked for client in world.clients):
        _check_command(world, asked, times[asked.command.command_id])


def _check_command(world: World, asked: Asked, there: list[int]) -> None:
    """Compare what a client knows of a command with where the journal has it.

    A refusal is the answer to one delivery: where an earlier one still was under way, that one may
    be carried out after all.
    """
    name = asked.command.command_id
    if len(there) > 1:
        world.broken(f"{name} was carried out twice: events {there}")
    if asked.answer is not None and there != [asked.answer.sequence]:
        world.broken(
            f"{name} was acknowledged as event {asked.answer.sequence}; the journal has {there}"
        )
    if asked.rejected and world.delivered[name] == 1 and there:
        world.broken(f"{name} was refused ({asked.rejected}) and carried out: {there}")


def _check_reads(world: World, states: dict[PipelineId, list[State]]) -> None:
    """I4: what was read is what the journal's first events make, and nothing else."""
    for client in world.clients:
        for read in client.reads:
            there = states.get(read.pipeline, [])
            sequence = read.state.sequence
            if sequence >= len(there):
                world.broken(f"{read.pipeline} was read at {sequence}, which never was")
            elif read.state.status is not there[sequence].status:
                world.broken(
                    f"{read.pipeline} was read as {read.state.status} at {sequence};"
                    f" it was {there[sequence].status}"
                )


def _check_rows(world: World, pipeline: PipelineId, state: State) -> None:
    """I5 to I8: everything read, once, in order, and no run began behind the one before."""
    outlet = world.sinks.outlets[pipeline]
    if state.status is not Status.STOPPED or state.reason != COMPLETED:
        world.broken(f"{pipeline} is {state.status} at the end: {state.reason or state.error}")
    _check_positions(world, pipeline, outlet)
    for split, count in outlet.source.splits.items():
        seen = [number for name, number in outlet.sink.rows() if name == split]
        if seen != list(range(count)):
            world.broken(f"{pipeline}: {_difference(split, seen, count)}")


def _difference(split: str, seen: list[int], count: int) -> str:
    missing = sorted(set(range(count)) - set(seen))
    twice = sorted({number for number in seen if seen.count(number) > 1})
    if missing or twice:
        return f"rows of {split} missing: {missing[:5]}, twice: {twice[:5]}"
    return f"the rows of {split} are out of order"


def _check_positions(world: World, pipeline: PipelineId, outlet: Outlet) -> None:
    began = sorted(outlet.begun.items())
    for (run, first), (later, second) in pairwise(began):
        if second < first:
            world.broken(f"{pipeline}: run {later} began at {second}, run {run} at {first}")
