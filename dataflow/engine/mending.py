"""Dead letters for whoever mends them: why they are there, replayed, purged. Arrow is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.core.errors import Rejected
from dataflow.core.graph import Graph
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.patching import entries
from dataflow.engine.records import Cause, Replay, ReplayLetters, Wanted
from dataflow.engine.replaying import sources_behind
from dataflow.engine.replays import Asked, Replays

REPLAY_LETTERS_MAX, REPLAY_BYTES_MAX = 10_000, 8 << 20
"""Of one request: it enters the graph whole, beside everything else that is in memory."""

CAUSES_MAX = 100
"""A page of them; a pipeline that has more kinds of errors has another problem."""

QUOTED, NUMBERS = r"'[^']*'|\"[^\"]*\"", r"\d+(\.\d+)?"
"""What errors of one cause differ in."""


async def causes(letters: DeadLetters) -> Sequence[Cause]:
    """Return why letters were kept, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    async for table in letters.tables():
        told: Any = pc.replace_substring_regex(table["error"], QUOTED, "'…'")
        told = pc.replace_substring_regex(told, NUMBERS, "#")
        columns = table["step"], told, table["id"]
        for step, error, letter in zip(*(c.to_pylist() for c in columns), strict=True):
            counts[step, error] += 1
            examples.setdefault((step, error), letter)
    found = counts.most_common(CAUSES_MAX)
    return [Cause(step, error, n, examples[step, error]) for (step, error), n in found]


async def purge(letters: DeadLetters, wanted: Wanted) -> int:
    """Let letters be gone for good; returns how many. One whose replay has entered may go on."""
    tables = [table async for table in letters.tables(wanted)]
    ids = [str(letter) for table in tables for letter in table["id"].to_pylist()]
    await letters.remove(ids)
    return len(ids)


async def replay(
    letters: DeadLetters, replays: Replays, asking: ReplayLetters, graph: Graph
) -> Replay:
    """Ask for letters to be replayed; the same request again finds the first one's replay.

    Raises:
        Rejected: a letter is not there, or is being replayed already; the patch does not fit; the
            pipeline has no such step any more.
    """
    if (asked := await replays.of_request(asking.request)) is not None:
        return Replay(asked.name, len(asked.letters))
    wanted, patch = asking.wanted, asking.patch
    if patch.record and len(wanted.ids) != 1:
        raise Rejected("a whole record is of one letter; name it by its id", field="record")
    pending = {letter for each in await _pending(replays) for letter in each.letters}
    tables, left = await _chosen(letters, wanted, pending)
    _check(tables, wanted, pending)
    found = entries(tables, patch)
    for entry in found:
        if sources_behind(graph, entry.step, entry.input) is None:
            place = f"{entry.step!r}" + (f", or not its input {entry.input!r}" * bool(entry.input))
            raise Rejected(f"the pipeline no longer has step {place}", field="step")
    if not found:
        return Replay("", 0)
    asked = await replays.ask(asking.request, found)
    return Replay(asked.name, len(asked.letters), left)


async def _pending(replays: Replays) -> Sequence[Asked]:
    return [await replays.get(name) for name in await replays.names()]


async def _chosen(
    letters: DeadLetters, wanted: Wanted, pending: set[str]
) -> tuple[Sequence[pa.Table], int]:
    """Return as many letters as one request may have, and how many more there are."""
    busy = pa.array(sorted(pending), pa.string())
    chosen: list[pa.Table] = []
    rows = size = left = 0
    async for table in letters.tables(wanted):
        free = table.filter(pc.invert(pc.is_in(table["id"], value_set=busy)))
        room = REPLAY_LETTERS_MAX - rows if size < REPLAY_BYTES_MAX else 0
        taken = free.slice(0, room)
        left += free.num_rows - taken.num_rows
        if taken.num_rows:
            chosen.append(taken)
            rows += taken.num_rows
            size += taken.nbytes
    return chosen, left


def _check(tables: Sequence[pa.Table], wanted: Wanted, pending: set[str]) -> None:
    """Refuse ids of which there is no letter: a filter may find nothing, a name has to be right."""
    there = {letter for table in tables for letter in table["id"].to_pylist()}
    for index, letter in enumerate(wanted.ids):
        if letter in pending:
            raise Rejected(f"{letter} is being replayed already", field=f"ids[{index}]")
        if letter not in there:
            raise Rejected(
                f"there is no letter {letter!r:.120}; it may be replayed or purged by now",
                field=f"ids[{index}]",
            )
