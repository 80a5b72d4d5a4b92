"""The expression language, for authors of transforms.

``parse`` and ``check`` serve a spec, when a pipeline is created; ``compile_expression`` serves the
code, when the first batch arrives, and is the only one that imports Arrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dataflow.connect.types import parse_type
from dataflow.core.errors import Rejected
from dataflow.expressions.check import check
from dataflow.expressions.errors import ExpressionError, listing
from dataflow.expressions.parser import parse
from dataflow.expressions.tree import Expression
from dataflow.expressions.types import BOOL, Type

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflow.expressions.compile import Compiled as Compiled  # noqa: PLC0414 - for authors' types

__all__ = [
    "BOOL",
    "Expression",
    "ExpressionError",
    "check",
    "compile_expression",
    "listing",
    "parse",
    "quoted",
    "typed",
]


def compile_expression(expression: Expression, schema: pa.Schema) -> Compiled:
    """Return an expression ready for batches of a schema.

    Raises:
        ExpressionError: an unknown column, with those there are; types that don't go together.
    """
    from dataflow.expressions.compile import compile_expression as make  # noqa: PLC0415 - see the top

    return make(expression, schema)


def typed(columns: Mapping[str, str] | None) -> Mapping[str, Type] | None:
    """Return columns by their types; None where they are not known.

    A name of a type that cannot be read is the problem of the step that declares it, which
    reports it; here it only means that the columns are not known.
    """
    if columns is None:
        return None
    try:
        return {name: parse_type(text) for name, text in columns.items()}
    except Rejected:
        return None


def quoted(name: str) -> str:
    """Return a column's name as an expression writes it, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'
