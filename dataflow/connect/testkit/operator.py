"""What a step with a memory promises: ``OperatorSuite``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import pyarrow as pa

from dataflow.connect.operator import Operator, Via
from dataflow.connect.transform import Output

VIA = Via("input", "split")
"""The way on which an operator under test is given rows."""

Plain: TypeAlias = tuple[dict[str, list[dict[str, object]]], list[dict[str, object]], int, int, int]
"""An output: rows by its name, those refused, and counts of filtered, produced, absorbed."""


class OperatorSuite(ABC):
    """For an operator with one input: give it batches that make it keep, pass and refuse rows."""

    @abstractmethod
    def operator(self) -> Operator:
        """Return a new instance."""

    @abstractmethod
    def batches(self) -> Sequence[pa.RecordBatch]:
        """Return at least two batches of one schema, with ``ORDINAL`` as the last column."""

    def test_every_row_is_accounted_for(self) -> None:
        """Rows in + produced = rows out + filtered + absorbed + rejected, call by call."""
        operator = self.operator()
        for batch in self.batches():
            assert _missing(operator.apply(batch, VIA), batch.num_rows) == 0
        assert _missing(operator.split_ended(VIA), 0) == 0
        assert _missing(operator.input_ended(VIA.input), 0) == 0

    def test_an_empty_batch_brings_nothing(self) -> None:
        """It may come first, or between others: the rows that follow come out as ever."""
        plain, mixed = self.operator(), self.operator()
        expected = _life(plain, self.batches(), [])
        empty = self.batches()[0].slice(0, 0)
        with_empty = [empty, *(each for batch in self.batches() for each in (batch, empty))]
        assert _rows(_life(mixed, with_empty, [])) == _rows(expected)

    def test_a_restored_instance_goes_on_as_if_nothing_had_happened(self) -> None:
        """A crash between any two batches changes nothing: all that is kept is in the changes.

        Told whole or change by change, and taken up again twice.
        """
        batches = self.batches()
        expected = _life(self.operator(), batches, [])
        for cut in range(len(batches) + 1):
            for step in (1, len(batches) + 1):
                before = self.operator()
                parts: list[bytes] = []
                found: list[Plain] = []
                _begin(before)
                for number, batch in enumerate(batches[:cut], start=1):
                    found.append(_plain(before.apply(batch, VIA)))
                    if number % step == 0:
                        parts += _told(before, parts)
                parts += _told(before, parts)
                after = self.operator()
                found += _life(after, batches[cut:], parts)
                assert found == expected


def _begin(operator: Operator) -> None:
    operator.splits(VIA.input, [VIA.split], idles=False)


def _told(operator: Operator, parts: Sequence[bytes]) -> list[bytes]:
    change = operator.changes(whole=not parts)
    return [] if change is None else [change]


def _life(
    operator: Operator, batches: Sequence[pa.RecordBatch], parts: Sequence[bytes]
) -> list[Plain]:
    """Return what a whole life of an operator gives, call by call."""
    if parts:
        operator.restore(parts)
    _begin(operator)
    found = [_plain(operator.apply(batch, VIA)) for batch in batches]
    found += [_plain(operator.split_ended(VIA)), _plain(operator.input_ended(VIA.input))]
    operator.close()
    return found


def _rows(life: Sequence[Plain]) -> list[dict[str, object]]:
    """Return the rows of a life, whichever call gave them."""
    return [row for call in life for rows in call[0].values() for row in rows]


def _missing(output: Output, taken: int) -> int:
    out = sum(made.num_rows for made in output.batches.values())
    rejected = output.rejected.num_rows if output.rejected is not None else 0
    return taken + output.produced - (out + output.filtered + output.absorbed + rejected)


def _plain(output: Output) -> Plain:
    batches = {name: made.to_pylist() for name, made in output.batches.items() if made.num_rows}
    rejected = output.rejected.to_pylist() if output.rejected is not None else []
    return batches, rejected, output.filtered, output.produced, output.absorbed
