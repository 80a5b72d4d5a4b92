"""The columns that a function returns: as declared, or as in the first batch that it returned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from dataflow.connect.transform import HIDDEN
from dataflow.connect.types import Kind, Type, from_arrow, parse_type, to_arrow
from dataflow.transforms.binding import Array
from dataflow.transforms.python.process import Fault

SHOWN_MAX = 5
"""Of the columns that are wrong, so many are named."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """A column: its type for people, and the one form in which it goes out."""

    of: Type
    arrow: pa.DataType


class Columns:
    """Holds every result to the same columns, whatever their order.

    Args:
        declared: names of types by column; None where the first result decides.
    """

    def __init__(self, declared: Mapping[str, str] | None) -> None:
        self._is_declared = declared is not None
        self._good: pa.Schema | None = None
        """Of the last result that went out as it was: most are like it."""
        self._expected: Mapping[str, _Expected] | None = None
        if declared is not None:
            types = {name: parse_type(of) for name, of in declared.items()}
            self._expected = {name: _Expected(of, to_arrow(of)) for name, of in types.items()}

    @property
    def empty(self) -> pa.RecordBatch | None:
        """Return a batch without rows; None while the columns are not known."""
        if self._expected is None:
            return None
        fields = [pa.field(name, each.arrow) for name, each in self._expected.items()]
        return pa.RecordBatch.from_pylist([], pa.schema(fields))

    def of(self, made: pa.RecordBatch) -> pa.RecordBatch:
        """Return a result with its columns in order, each in the form of its type.

        Raises:
            Fault: they are others.
        """
        if self._good is not None and self._good.equals(made.schema):
            return made
        names = made.schema.names
        if hidden := sorted(HIDDEN.intersection(names)):
            raise Fault(f"it returned a column {hidden[0]!r}: that name is the platform's own")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise Fault(f"it returned two columns {twice!r}")
        if not names:
            raise Fault("it returned a batch without columns")
        expected = self._expected
        if expected is None:
            expected = {field.name: _form(field.type) for field in made.schema}
        self._check(made, expected)
        arrays = [_cast(made.column(name), each) for name, each in expected.items()]
        self._expected = expected
        out = pa.RecordBatch.from_arrays(arrays, names=list(expected))
        if out.schema.equals(made.schema):
            self._good = out.schema
        return out

    def _check(self, made: pa.RecordBatch, expected: Mapping[str, _Expected]) -> None:
        wrong = [f"no column {name!r}" for name in expected if name not in made.schema.names]
        for field in made.schema:
            of, wanted = from_arrow(field.type), expected.get(field.name)
            if wanted is None:
                wrong.append(f"a column {field.name!r}")
            elif of != wanted.of and of.kind is not Kind.NULL:
                wrong.append(f"{field.name!r} as {of}, not {wanted.of}")
        if wrong:
            by = "schema declares" if self._is_declared else "its first batch had; declare schema"
            shown = ", ".join(wrong[:SHOWN_MAX])
            raise Fault(f"it returned {shown}: other columns than {by}")


def _form(arrow: pa.DataType) -> _Expected:
    """Return a column as it is first seen, but for texts in views, which few kernels know."""
    of = from_arrow(arrow)
    is_view = pa.types.is_string_view(arrow) or pa.types.is_binary_view(arrow)
    return _Expected(of, to_arrow(of) if is_view else arrow)


def _cast(column: Array, wanted: _Expected) -> Array:
    if column.type == wanted.arrow:
        return column
    try:
        return column.cast(wanted.arrow)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise Fault(f"it returned {column.type}, which is no {wanted.of}: {error}") from error
