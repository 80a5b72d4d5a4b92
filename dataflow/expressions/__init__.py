"""The typed, SQL-like language of filters and computed columns.

``parse`` checks what can be checked without a schema, ``check`` types an expression against one,
and ``dataflow.expressions.compile`` (which imports Arrow; this package does not) makes it a closure
over Arrow kernels. An expression sees the columns of its batch and nothing else.

Names. Keywords and functions are case-insensitive, columns case-sensitive. ``"weird name"`` and
backticks quote a column, ``'text'`` a text (``''`` is a quote in it). ``a.b[0].c`` and ``$.a.b``
reach into structs and lists; lists count from 0, from the end if negative, NULL past either end.
A bare word is a text in one case only: unquoted, without a path, on the *right* of = == <> != <
<= > >=, not a column of the schema, and with a *string column* or field of one on the left:
``status == active``. Anywhere else, and for any other type, it is an unknown column.

NULL. Anything computed from NULL is NULL; AND, OR, NOT and IN are three-valued (Kleene); a filter
keeps the rows where it is true. ``||`` gives NULL for NULL, concat(), greatest() and least() leave
NULL out. IS [NOT] DISTINCT FROM, IS NULL, IS TRUE and IS FALSE always answer.

Numbers. Literals take the type of what they meet. Whole numbers compute as int64 (uint64 if one is
and none is signed), and overflow is a row error. ``/`` is float64 for every type; by zero it is
NULL, and so is %, whose sign is that of the left side. sqrt, ln and log10 are NULL outside of their
domain; other float results are IEEE 754's. round() rounds halves away from zero, CAST to a whole
number cuts off. Decimals are exact under + - *. Mixed numbers widen: integers to the integer that
holds both, else to decimal, with floats to float64. Text never becomes a number by itself.
NaN compares as IEEE 754 says: = < <= > >= are false, <> is true; greatest() and least() leave it
out; IS NOT DISTINCT FROM finds it equal to itself.

Texts count characters from 1, from the end if negative. Patterns, formats, units and widths are
literals. LIKE has no escape character unless ESCAPE names one; regular expressions are RE2's, and
find their match anywhere. regexp_replace() and replace() replace every match.

Dates and times. A text literal next to a date, time or timestamp is read as one. A timestamp
without a zone is UTC where it meets one with a zone; parts and truncation go by the clock of the
zone. A day is 24 hours; months end on their last day (31 January + 1 month = 28 or 29 February).
date_diff() counts the boundaries between, weeks start on Monday. A coarser unit rounds down.

Row errors. Overflow, a failing CAST, an unreadable date and a text grown past its limit are the
fault of a row, not of the expression: ``Compiled.evaluate_rows`` gives the other rows' values and
the rows at fault. A value that is not needed is never at fault: branches of CASE and IF that are
not taken, arguments of COALESCE after the first that is not NULL, and operands of AND and OR after
the one that decides. TRY_CAST gives NULL instead.
"""

from dataflow.expressions.check import bind, check
from dataflow.expressions.errors import ExpressionError, RowsRejected
from dataflow.expressions.parser import parse
from dataflow.expressions.tree import Expression
from dataflow.expressions.type_names import parse_type
from dataflow.expressions.types import BOOL, Type

__all__ = [
    "BOOL",
    "Expression",
    "ExpressionError",
    "RowsRejected",
    "Type",
    "bind",
    "check",
    "parse",
    "parse_type",
]
