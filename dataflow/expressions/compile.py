"""A checked expression to a closure over Arrow kernels, made once and called for every batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pyarrow as pa

from dataflow.core.errors import Code
from dataflow.expressions import vector
from dataflow.expressions.arrow import from_arrow, normal, to_arrow
from dataflow.expressions.bound import Apply, Bound, Constant, Reference
from dataflow.expressions.check import bind
from dataflow.expressions.errors import RowsRejected, Source, shown
from dataflow.expressions.frame import Faults, Frame, Noted, array_of, gathered
from dataflow.expressions.kernels import KERNELS
from dataflow.expressions.kernels.step import Evaluate, Operand, Step
from dataflow.expressions.tree import Expression
from dataflow.expressions.types import NESTED, Kind, Type
from dataflow.expressions.vector import Array, Datum, Scalar

_TAKES_ANY_FORM = frozenset({"field", "element", "list_length", "is_null"})

__all__ = ["Compiled", "Faults", "Outcome", "compile_expression", "from_arrow", "to_arrow"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a batch: a value for each row, and the rows that have none.

    Attributes:
        values: of the length of the batch; NULL in the rows at fault.
        faults: the rows at fault, or None if there are none.
    """

    values: Array
    faults: Faults | None


class Compiled:
    """An expression ready for batches; it keeps no state, so any number of threads may call it.

    Attributes:
        type: the type of its values.
        columns: the columns it reads, all that a batch must have.
    """

    def __init__(self, source: Source, root: Operand, columns: frozenset[str]) -> None:
        self.type = root.type
        self.columns = columns
        self._source = source
        self._root = root

    def evaluate(self, batch: pa.RecordBatch) -> Array:
        """Return the value of each row.

        Raises:
            RowsRejected: a row has none; ``evaluate_rows`` says which.
            ExpressionError: a column has changed its type since.
        """
        outcome = self.evaluate_rows(batch)
        if outcome.faults is None:
            return outcome.values
        raise self._rejected(outcome.faults)

    def mask(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Return which rows a predicate keeps: those where it is true, not false and not NULL.

        Raises:
            RowsRejected: as ``evaluate``.
            ExpressionError: the expression is no predicate.
        """
        if self.type.kind not in {Kind.BOOL, Kind.NULL}:
            raise self._source.error(f"a predicate is bool, and this is {self.type}", 0)
        values = vector.cast(self.evaluate(batch), pa.bool_())
        return cast("pa.BooleanArray", vector.coalesce(values, vector.FALSE))

    def evaluate_rows(self, batch: pa.RecordBatch) -> Outcome:
        """Return the value of each row, and which rows are at fault and why.

        Raises:
            ExpressionError: a column has changed its type since.
        """
        try:
            return Outcome(self._finished(Frame.of(batch), batch.num_rows), None)
        except pa.ArrowException:
            pass  # which rows are at fault, if it is rows, is found below
        noted: list[Noted] = []
        try:
            values = self._finished(Frame.of(batch, noted), batch.num_rows)
        except pa.ArrowException as error:
            problem = f"this batch can't be computed: {error}"
            remedy = "if it is too large, read smaller ones: batchSize"
            raise self._source.error(problem, 0, remedy=remedy, code=Code.TOO_LARGE) from error
        if not noted:
            return Outcome(values, None)
        faults = gathered(noted)
        bad = vector.is_in(faults.rows)(vector.arange(batch.num_rows))
        return Outcome(vector.if_else(bad, pa.scalar(None, values.type), values), faults)

    def _rejected(self, faults: Faults) -> RowsRejected:
        at, count = faults.offsets[0].as_py(), len(faults)
        message = faults.messages[0].as_py().removesuffix(f" ({self._source.place(at)})")
        more = f", and {count - 1:,} more like it" if count > 1 else ""
        problem = f"row {faults.rows[0].as_py():,}: {message}{more}"
        error = RowsRejected(problem, text=self._source.text, at=at, code=Code.RECORD_REJECTED)
        error.rows = count
        return error

    def _finished(self, frame: Frame, length: int) -> Array:
        values = array_of(self._root.evaluate(frame), length)
        return normal(values, self.type) if self.type.kind in NESTED else values


def compile_expression(expression: Expression, arrow_schema: pa.Schema) -> Compiled:
    """Return an expression ready for batches of a schema.

    Batches may have their columns in another order, more of them, and text in another of Arrow's
    forms; a column of another type is refused.

    Raises:
        ExpressionError: as ``check``; a regular expression, format or time zone that is
            invalid; a constant part that has no value.
    """
    schema = {field.name: from_arrow(field.type) for field in arrow_schema}
    source = Source(expression.text)
    root = bind(expression, schema)
    compiler = _Compiler(source)
    operand = compiler.compile(root)
    compiled = Compiled(source, operand, frozenset(compiler.columns))
    _rehearse(compiled, source, arrow_schema)
    return compiled


def _rehearse(compiled: Compiled, source: Source, schema: pa.Schema) -> None:
    """Compute one row of NULLs, so that a kernel that lacks a type says so now."""
    fields = []
    for name in sorted(compiled.columns):
        if len(schema.get_all_field_indices(name)) > 1:
            raise source.error(f"there are two columns named {shown(name)}", 0)
        fields.append(schema.field(name).with_nullable(True))
    nulls = [pa.nulls(1, field.type) for field in fields]
    row = pa.RecordBatch.from_arrays(nulls, schema=pa.schema(fields))
    try:
        compiled.evaluate_rows(row)
    except pa.ArrowException as error:
        problem = f"this can't be computed: {str(error).splitlines()[0]}"
        raise source.error(problem, 0) from error


class _Compiler:
    def __init__(self, source: Source) -> None:
        self._source = source
        self.columns: set[str] = set()

    def compile(self, node: Bound) -> Operand:
        match node:
            case Constant():
                return _constant(pa.scalar(node.value, to_arrow(node.type)), node.type)
            case Reference():
                self.columns.add(node.name)
                return Operand(node.type, _column(node.name, node.type))
            case Apply():
                return self._apply(node)

    def _apply(self, node: Apply) -> Operand:
        operands = [self.compile(child) for child in node.args]
        if node.op not in _TAKES_ANY_FORM:
            operands = [_in_one_form(operand) for operand in operands]
        if all(operand.constant is not None for operand in operands):
            return self._folded(node, operands)
        return Operand(node.type, self._build(node, operands))

    def _build(self, node: Apply, operands: list[Operand]) -> Evaluate:
        return KERNELS[node.op](Step(node, operands, self._source))

    def _folded(self, node: Apply, operands: list[Operand]) -> Operand:
        """Compute now what no row decides, on arrays of one row."""
        rows = [
            Operand(operand.type, _single(operand.constant), operand.constant)
            for operand in operands
            if operand.constant is not None
        ]
        noted: list[Noted] = []
        row = pa.RecordBatch.from_arrays([pa.nulls(1)], names=[""])
        value = array_of(self._build(node, rows)(Frame.of(row, noted)), 1)[0]
        if noted:
            message = gathered(noted).messages[0].as_py()
            problem = message.removesuffix(f" ({self._source.place(node.at)})")
            raise self._source.error(problem, node.at)
        return _constant(value, node.type)


def _in_one_form(operand: Operand) -> Operand:
    """Return what brings structs and lists into the one form of their type; others have it."""
    of, evaluate = operand.type, operand.evaluate
    if of.kind not in NESTED or operand.constant is not None:
        return operand

    def normalized(frame: Frame) -> Datum:
        value = evaluate(frame)
        return normal(value, of) if isinstance(value, pa.Array) else value

    return Operand(of, normalized)


def _constant(value: Scalar, of: Type) -> Operand:
    return Operand(of, lambda _: value, value)


def _single(value: Scalar) -> Evaluate:
    row = vector.repeated(value, 1)
    return lambda _: row


def _column(name: str, of: Type) -> Evaluate:
    def evaluate(frame: Frame) -> Datum:
        return frame.column(name, of)

    return evaluate
