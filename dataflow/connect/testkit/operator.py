"""What a step with a memory promises: ``OperatorSuite``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import pyarrow as pa

from dataflow.connect.operator import Operator, Via
from dataflow.connect.transform import Output

VIA = Via("input", "split")
"""The way on which an operator under test is given rows."""

Plain: TypeAlias = tuple[dict[str, list[dict[str, object]]], list[dict[str, object]], int, int, int]
"""An output: rows by its name, those refused, and counts of filtered, produced, absorbed."""

Arrival: TypeAlias = tuple[Via, pa.RecordBatch]
"""A batch, and the way on which it comes."""

Call: TypeAlias = Callable[[Operator], Output]


class OperatorSuite(ABC):
    """Give an operator batches that make it keep, pass and refuse rows.

    For one with several inputs override ``arrivals``: it is given those in ``first`` before the
    others, and each input ends behind its last batch.
    """

    @abstractmethod
    def operator(self) -> Operator:
        """Return a new instance."""

    @abstractmethod
    def batches(self) -> Sequence[pa.RecordBatch]:
        """Return at least two batches of one schema, with ``ORDINAL`` as the last column."""

    def arrivals(self) -> Sequence[Arrival]:
        """Return batches by the way on which each comes, in their order."""
        return [(VIA, batch) for batch in self.batches()]

    def test_every_row_is_accounted_for(self) -> None:
        """Rows in + produced = rows out + filtered + absorbed + rejected, call by call."""
        operator = self.operator()
        _begin(operator, self.arrivals())
        for call, taken in _calls(self.arrivals()):
            assert _missing(call(operator), taken) == 0
            for more in _more(operator):
                assert _missing(more, 0) == 0

    def test_an_empty_batch_brings_nothing(self) -> None:
        """It may come first, or between others: the rows that follow come out as ever."""
        given = self.arrivals()
        expected = _life(self.operator(), _calls(given), [], given)
        with_empty: list[Arrival] = []
        for via, batch in given:
            empty = batch.slice(0, 0)
            with_empty += [(via, empty), (via, batch), (via, empty)]
        mixed = _life(self.operator(), _calls(with_empty), [], given)
        assert _rows(mixed) == _rows(expected)

    def test_a_restored_instance_goes_on_as_if_nothing_had_happened(self) -> None:
        """A crash between any two calls changes nothing: all that is kept is in the changes.

        Told whole or change by change, and taken up again twice.
        """
        given = self.arrivals()
        calls = _calls(given)
        expected = _life(self.operator(), calls, [], given)
        for cut in range(len(calls) + 1):
            for step in (1, len(calls) + 1):
                before = self.operator()
                parts: list[bytes] = []
                found: list[Plain] = []
                _begin(before, given)
                for number, (call, _) in enumerate(calls[:cut], start=1):
                    found.append(_called(before, call))
                    if number % step == 0:
                        parts += _told(before, parts)
                parts += _told(before, parts)
                after = self.operator()
                found += _life(after, calls[cut:], parts, given)
                assert found == expected


def _begin(operator: Operator, arrivals: Sequence[Arrival]) -> None:
    for name in dict.fromkeys(via.input for via, _ in arrivals):
        splits = dict.fromkeys(via.split for via, _ in arrivals if via.input == name)
        operator.splits(name, list(splits), idles=False)


def _calls(arrivals: Sequence[Arrival]) -> Sequence[tuple[Call, int]]:
    """Return what the engine does, and the rows that each call is given."""
    calls: list[tuple[Call, int]] = []
    for at, (via, batch) in enumerate(arrivals):
        calls.append((partial(_apply, batch=batch, via=via), batch.num_rows))
        later = [other for other, _ in arrivals[at + 1 :]]
        if via not in later:
            calls.append((partial(_split_ended, via=via), 0))
        if via.input not in {other.input for other in later}:
            calls.append((partial(_input_ended, name=via.input), 0))
    return calls


def _apply(operator: Operator, batch: pa.RecordBatch, via: Via) -> Output:
    return operator.apply(batch, via)


def _split_ended(operator: Operator, via: Via) -> Output:
    return operator.split_ended(via)


def _input_ended(operator: Operator, name: str) -> Output:
    return operator.input_ended(name)


def _more(operator: Operator) -> Iterator[Output]:
    while (more := operator.rest()) is not None:
        yield more


def _called(operator: Operator, call: Call) -> Plain:
    first = _plain(call(operator))
    batches, rejected, filtered, produced, absorbed = first
    for more in _more(operator):
        for name, rows in _plain(more)[0].items():
            batches.setdefault(name, []).extend(rows)
        produced += more.produced
    return batches, rejected, filtered, produced, absorbed


def _told(operator: Operator, parts: Sequence[bytes]) -> list[bytes]:
    change = operator.changes(whole=not parts)
    return [] if change is None else [change]


def _life(
    operator: Operator,
    calls: Sequence[tuple[Call, int]],
    parts: Sequence[bytes],
    given: Sequence[Arrival],
) -> list[Plain]:
    """Return what is left of the life of an operator, call by call."""
    if parts:
        operator.restore(parts)
    _begin(operator, given)
    found = [_called(operator, call) for call, _ in calls]
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
