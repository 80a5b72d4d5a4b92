"""A batch to the columns that are grouped: keys, arguments and times, in the type of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflow.connect import Rejected
from dataflow.connect.expressions import (
    Expression,
    ExpressionError,
    compile_expression,
    parse,
    quoted,
)
from dataflow.connect.types import Type, to_arrow
from dataflow.transforms.aggregate.calls import Call, read
from dataflow.transforms.aggregate.options import AggregateOptions
from dataflow.transforms.aggregate.spec import problems_of, schema_of
from dataflow.transforms.binding import Array, Faults, demand, said, types_of, visible

if TYPE_CHECKING:
    from dataflow.connect.expressions import Compiled

EVERYTHING = "all"
"""The key of a step without ``groupBy``: one value."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The columns of a batch that are grouped, and the rows that have no value for one."""

    columns: Mapping[str, Array]
    times: Array | None
    faults: Sequence[Faults]


class Columns:
    """What is grouped, by names that no user chose.

    Attributes:
        calls: the aggregates.
        keys: names of the columns to group by.
        arguments: names of arguments by their texts: calls of one argument share it.
    """

    def __init__(self, options: AggregateOptions) -> None:
        self.calls: Sequence[Call] = [read(*each) for each in options.aggregates.items()]
        self.keys = [f"k{at}" for at in range(len(options.group_by))] or [EVERYTHING]
        texts = dict.fromkeys(_text(call.argument) for call in self.calls if call.argument)
        self.arguments = {text: f"a{at}" for at, text in enumerate(texts)}

    def argument(self, call: Call) -> str:
        """Return the column of a call's argument; an empty text if it has none."""
        return self.arguments[_text(call.argument)] if call.argument is not None else ""


class Intake:
    """The options bound to the columns of a schema.

    Attributes:
        schema: the columns that come in.
        made: the columns that go out, by type.
        held: the Arrow types of keys and arguments; a state goes on with these alone.
    """

    def __init__(self, options: AggregateOptions, columns: Columns, schema: pa.Schema) -> None:
        types = types_of(schema)
        demand(problems_of(options, types))
        self.schema = schema
        self.made: Mapping[str, Type] = schema_of(options, types)
        self._window = options.window
        shown = visible(schema)
        try:
            self._compiled = {
                key: (name, compile_expression(parse(quoted(name)), shown))
                for key, name in zip(columns.keys, options.group_by, strict=False)
            }
            for call in columns.calls:
                if call.argument is not None:
                    compiled = compile_expression(call.argument, shown)
                    self._compiled.setdefault(columns.argument(call), (call.name, compiled))
            self._time: Compiled | None = None
            if options.window is not None:
                name = options.window.time_column
                self._time = compile_expression(parse(quoted(name)), shown)
        except ExpressionError as error:
            raise Rejected(error.message, code=error.code, field="options") from error
        self.held = {name: to_arrow(each.type) for name, (_, each) in self._compiled.items()}
        if not options.group_by:
            self.held[EVERYTHING] = pa.int8()

    def take(self, batch: pa.RecordBatch) -> Taken:
        """Return what is grouped of a batch."""
        columns: dict[str, Array] = {}
        faults: list[Faults] = []
        for column, (name, compiled) in self._compiled.items():
            outcome = compiled.evaluate_rows(batch)
            columns[column] = outcome.values
            if outcome.faults is not None:
                faults.append(Faults(outcome.faults.rows, said(name, outcome.faults.messages)))
        if EVERYTHING in self.held:
            columns[EVERYTHING] = pa.repeat(pa.scalar(0, pa.int8()), batch.num_rows)
        times = self._time.evaluate_rows(batch).values if self._time is not None else None
        return Taken(columns, times, faults)


def _text(argument: Expression | None) -> str:
    return argument.text.strip() if argument is not None else ""
