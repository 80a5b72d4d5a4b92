"""Groups that are complete, as the rows that go out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow as pa

from dataflow.connect.batches import one_batch
from dataflow.connect.types import Type, to_arrow
from dataflow.transforms.aggregate.calls import WHOLE, Call
from dataflow.transforms.aggregate.intake import Columns, Intake
from dataflow.transforms.aggregate.options import AggregateOptions
from dataflow.transforms.aggregate.parts import ROWS, Part, whole
from dataflow.transforms.aggregate.sketches import Distinct, Quantiles
from dataflow.transforms.aggregate.windows import Windows

RESULT_ROWS = 1 << 17
"""Of one batch: a few megabytes, however many groups there are."""


def parts_of(columns: Columns) -> Sequence[Part]:
    """Return the parts that the calls need, each once."""
    parts: dict[Part, None] = {}
    for call in columns.calls:
        of = columns.argument(call)
        match call.function:
            case "avg":
                needed = [Part("sum", of), Part("count", of)]
            case "collect":
                needed = [Part("collect", of, int(call.parameter))]
            case "approx_distinct" | "quantile":
                needed = []
            case "count" if not of:
                needed = [ROWS]
            case _:
                needed = [Part(call.function, of)]
        parts |= dict.fromkeys(needed)
    return list(parts) or [ROWS]


class Results:
    """Makes rows of groups: in the order of their windows and keys, so that it is always one."""

    def __init__(
        self,
        options: AggregateOptions,
        columns: Columns,
        sketches: Sequence[Distinct | Quantiles],
        windows: Windows,
    ) -> None:
        self._options, self._columns = options, columns
        self._sketches, self._windows = sketches, windows

    def ordered(self, groups: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """Return the groups of all tables as one frame."""
        main, *others = groups
        keys = [*self._windows.columns, *self._columns.keys]
        for sketch, cells in zip(self._sketches, others, strict=True):
            main = main.join(sketch.results(cells), on=keys, how="left", nulls_equal=True)
        return main.sort(keys)

    def batches(
        self, groups: pl.DataFrame, intake: Intake, *, final: bool
    ) -> Iterator[pa.RecordBatch]:
        """Return the rows that go out.

        Raises:
            Rejected: a sum does not fit its type.
        """
        for part in groups.iter_slices(RESULT_ROWS):
            yield self._batch(part, intake, final=final)

    def _batch(self, groups: pl.DataFrame, intake: Intake, *, final: bool) -> pa.RecordBatch:
        columns = [groups[key] for key in self._columns.keys][: len(self._options.group_by)]
        columns += groups.select(self._windows.bounds()).get_columns()
        columns += [
            self._result(call, groups, intake.made[call.name]) for call in self._columns.calls
        ]
        if self._options.emit == "early":
            columns.append(pl.repeat(final, groups.height, eager=True))
        named = zip(intake.made, columns, strict=True)
        table = pl.DataFrame([column.alias(name) for name, column in named]).to_arrow()
        fields = [(name, to_arrow(of)) for name, of in intake.made.items()]
        return one_batch(table.cast(pa.schema(fields)))

    def _result(self, call: Call, groups: pl.DataFrame, made: Type) -> pl.Series:
        of = self._columns.argument(call)
        match call.function:
            case "avg":
                total, count = groups[Part("sum", of).name], groups[Part("count", of).name]
                return total.cast(pl.Float64) / count
            case "sum" if made.kind in WHOLE:
                return whole(groups[Part("sum", of).name], call.name)
            case "collect":
                return groups[Part("collect", of, int(call.parameter)).name]
            case "approx_distinct":
                return groups[f"distinct {of}"].fill_null(0)
            case "quantile":
                return groups[f"quantile {of} {call.parameter}"]
            case "count" if not of:
                return groups[ROWS.name]
            case _:
                return groups[Part(call.function, of).name]
