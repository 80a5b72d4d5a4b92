"""A log under any pushes, cuts, reads and crashes holds what it acknowledged, once, in order."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataflow.core.errors import Code, Rejected, Unavailable
from dataflow.engine.ingest import Ingested
from dataflow.engine.ingest.segment import UNFINISHED, load
from tests.unit.engine.ingest.pushing import BUFFER_BYTES, Pushing

SEGMENT_BYTES = 1_200
"""A batch or two a segment, so that a history of a few steps has several."""

RUBBISH = st.sampled_from([b"", bytes(700), b"\xa5" * 33, b"DFINGST1"])
"""What a file system may leave behind the last byte that was synchronised."""

PART = st.floats(0, 1)
"""How much of a file is left. Its length is no part of a history: how batches gather in a write,
and so in a file, is left to chance."""

T = TypeVar("T")


@dataclass
class Model:
    """What must be there: batches in their order, and what may have been forgotten."""

    batches: list[tuple[str, list[int]]] = field(default_factory=list)
    cut: int = 0
    told: int = 0
    """The last cut that the open log knows of; it begins with none."""

    @property
    def numbers(self) -> list[int]:
        """Return every record that was acknowledged."""
        return [n for _, numbers in self.batches for n in numbers]

    def next(self, size: int) -> tuple[str, list[int]]:
        """Return a batch that nobody has pushed."""
        start = len(self.numbers)
        return f"batch-{len(self.batches)}", list(range(start, start + size))


class LogMachine(RuleBasedStateMachine):
    """Drives a log and a list side by side.

    A crash is a copy of the folder whose last file ends anywhere behind the last fsync: what a
    killed process, or a power cut, leaves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="ingest-"))
        self.runner = asyncio.Runner()
        self.life = 0
        self.model = Model()
        self.log = self._opened(self.root / "0")

    def _opened(self, folder: Path) -> Pushing:
        return Pushing(folder, segment_bytes=SEGMENT_BYTES)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def _push(self, name: str, numbers: list[int], *, limit: int = BUFFER_BYTES) -> Ingested:
        return self._run(self.log.push(name, *numbers, buffer_bytes=limit))

    @rule(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4))
    def push(self, sizes: list[int]) -> None:
        """Push batches side by side; they enter in the order of their calls, once each."""
        start = len(self.model.numbers)
        for size in sizes:
            self.model.batches.append(self.model.next(size))
        pushed = self.model.batches[-len(sizes) :]

        async def together() -> list[Ingested]:
            async with asyncio.TaskGroup() as tasks:
                pushing = [tasks.create_task(self.log.push(name, *n)) for name, n in pushed]
            return [one.result() for one in pushing]

        for size, answer in zip(sizes, self._run(together()), strict=True):
            assert answer == Ingested(size, start, duplicate=False)
            start += size

    @precondition(lambda self: self.model.batches)
    @rule(data=st.data())
    def push_again(self, data: st.DataObject) -> None:
        """Push a batch that was acknowledged; the first answer comes back, nothing is taken."""
        name, numbers = data.draw(st.sampled_from(self.model.batches))
        assert self._push(name, numbers) == Ingested(len(numbers), numbers[0], duplicate=True)

    @precondition(lambda self: self.model.batches)
    @rule(data=st.data())
    def push_another_under_its_name(self, data: st.DataObject) -> None:
        """Push other content under an id that is taken; nothing is."""
        name, numbers = data.draw(st.sampled_from(self.model.batches))
        with pytest.raises(Rejected) as refused:
            self._push(name, [*numbers, -1])
        assert refused.value.code is Code.COMMAND_ID_REUSED

    @rule(size=st.integers(1, 40))
    def push_where_hardly_anything_may_wait(self, size: int) -> None:
        """Push under a limit of one byte: taken where nothing waits, and else not at all."""
        name, numbers = self.model.next(size)
        if self.model.told == len(self.model.numbers):
            assert self._push(name, numbers, limit=1).first_offset == numbers[0]
            self.model.batches.append((name, numbers))
        else:
            with pytest.raises(Unavailable) as refused:
                self._push(name, numbers, limit=1)
            assert refused.value.code is Code.BUSY

    @rule(data=st.data())
    def read_from_anywhere(self, data: st.DataObject) -> None:
        """Read from any offset that has not been cut."""
        numbers = self.model.numbers
        start = data.draw(st.integers(self.model.cut, len(numbers)))
        assert self._run(self.log.numbers(start)) == numbers[start:]

    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        """Decide some of it, perhaps less than before; what is not decided stays."""
        below = data.draw(st.integers(0, len(self.model.numbers)))
        self.model.told, self.model.cut = below, max(below, self.model.cut)
        self._run(self.log.log.cut(below))

    @rule()
    def reopen(self) -> None:
        """Stop and start in good order."""
        self._run(self.log.reopen())
        self.model.told = 0

    @rule(size=st.integers(1, 40), part=PART, rubbish=RUBBISH)
    def crash(self, size: int, part: float, rubbish: bytes) -> None:
        """Die while a batch is written: it is there as a whole, or not at all."""
        before = {path.name: path.stat().st_size for path in self.log.segments}
        name, numbers = self.model.next(size)
        self._push(name, numbers)
        self._die()
        last = self.log.segments[-1]
        whole = last.stat().st_size
        least = before.get(last.name, load(last).begin)
        kept = least + round(part * (whole - least))
        os.truncate(last, kept)
        with last.open("ab") as file:
            file.write(rubbish)
        again = self._push(name, numbers)
        assert again == Ingested(size, numbers[0], duplicate=kept == whole)
        self.model.batches.append((name, numbers))

    @precondition(lambda self: self.log.segments)
    @rule(part=PART)
    def crash_between_two_segments(self, part: float) -> None:
        """Die while a segment is made: what has no name yet was never there."""
        made = self.log.segments[-1].read_bytes()
        self._die()
        kept, end = round(part * len(made)), len(self.model.numbers)
        (self.log.folder / f"{end:020d}{UNFINISHED}").write_bytes(made[:kept])

    def _die(self) -> None:
        """Go on over a copy of what is on the disk now."""
        self.life += 1
        folder = self.root / str(self.life)
        shutil.copytree(self.log.root, folder)
        self._run(self.log.logs.close())
        self.log, self.model.told = self._opened(folder), 0

    @invariant()
    def offsets_have_no_gap(self) -> None:
        """They end where the records end, and begin no later than what is undecided."""
        assert self._run(self.log.log.end()) == len(self.model.numbers)
        assert self._run(self.log.log.begin()) <= self.model.cut

    @invariant()
    def what_is_decided_goes(self) -> None:
        """All but the segment that holds the place up to which all is decided."""
        firsts = [int(path.stem) for path in self.log.segments]
        assert [first for first in firsts[1:] if first <= self.model.told] == []

    def teardown(self) -> None:
        """Read all that is left, and clean up."""
        found = self._run(self.log.numbers(self.model.cut))
        self._run(self.log.logs.close())
        self.runner.close()
        shutil.rmtree(self.root)
        assert found == self.model.numbers[self.model.cut :]


LogMachine.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,  # An fsync takes as long as the disk does.
    suppress_health_check=[HealthCheck.too_slow],
)
TestLog = LogMachine.TestCase
