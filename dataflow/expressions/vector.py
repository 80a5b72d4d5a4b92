"""Arrow's kernels as this package calls them: looked up once, on columns of any type.

A column's type is known when the program runs, not when it is checked, so the overloads of
pyarrow's stubs don't help here. What they hide is stated once: of the arguments at least one is
an array (constants are computed before there are rows), and so is the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

Array: TypeAlias = "pa.Array[Any]"
Scalar: TypeAlias = "pa.Scalar[Any]"
Datum: TypeAlias = "pa.Array[Any] | pa.Scalar[Any]"
Kernel: TypeAlias = "Callable[..., pa.Array[Any]]"

TRUE: Final = pa.scalar(True)
FALSE: Final = pa.scalar(False)
NO_BOOL: Final = pa.scalar(None, pa.bool_())
NO_INT64: Final = pa.scalar(None, pa.int64())
NO_FLOAT64: Final = pa.scalar(None, pa.float64())
NO_TEXT: Final = pa.scalar(None, pa.string())
ZERO: Final = pa.scalar(0)
ONE: Final = pa.scalar(1)


def kernel(name: str, options: pc.FunctionOptions | None = None) -> Kernel:
    """Return an Arrow kernel as a function of its arguments."""
    call = pc.get_function(name).call
    if options is None:
        return lambda *args: call(args)
    return lambda *args: call(args, options)


add: Final = kernel("add")
add_checked: Final = kernel("add_checked")
subtract: Final = kernel("subtract")
multiply: Final = kernel("multiply")
multiply_checked: Final = kernel("multiply_checked")
divide: Final = kernel("divide")
absolute: Final = kernel("abs")
negate: Final = kernel("negate")
trunc: Final = kernel("trunc")
cumulative_sum: Final = kernel("cumulative_sum")
bit_wise_and: Final = kernel("bit_wise_and")
bit_wise_xor: Final = kernel("bit_wise_xor")
least: Final = kernel("min_element_wise", pc.ElementWiseAggregateOptions(skip_nulls=False))

equal: Final = kernel("equal")
not_equal: Final = kernel("not_equal")
less: Final = kernel("less")
less_equal: Final = kernel("less_equal")
greater: Final = kernel("greater")
greater_equal: Final = kernel("greater_equal")
both: Final = kernel("and")
either: Final = kernel("or")
both_kleene: Final = kernel("and_kleene")
either_kleene: Final = kernel("or_kleene")
but_not: Final = kernel("and_not")
invert: Final = kernel("invert")
is_null: Final = kernel("is_null", pc.NullOptions(nan_is_null=False))
is_valid: Final = kernel("is_valid")
is_nan: Final = kernel("is_nan")

if_else: Final = kernel("if_else")
case_when: Final = kernel("case_when")
coalesce: Final = kernel("coalesce")
ascending: Final = kernel("array_sort_indices")  # stable

joined: Final = kernel("binary_join_element_wise", pc.JoinOptions("emit_null"))
trimmed: Final = kernel("utf8_trim_whitespace")
characters: Final = kernel("utf8_length")
byte_count: Final = kernel("binary_length")
item_count: Final = kernel("list_value_length")
local_clock: Final = kernel("local_timestamp")
year: Final = kernel("year")
month: Final = kernel("month")
day: Final = kernel("day")

_cast: Callable[..., Any] = pc.cast
_make_struct: Callable[..., Any] = pc.make_struct
_repeat: Callable[..., Any] = pa.repeat
_nulls: Callable[..., Any] = pa.nulls
_dictionary_encode: Callable[..., Any] = pc.dictionary_encode
_sum: Callable[..., Any] = pc.sum
_arange: Callable[..., Any] = pa.arange  # type: ignore[attr-defined]  # newer than the stubs


def cast(value: Datum, target: pa.DataType, *, safe: bool = True) -> Array:
    """Return values as another type; a safe cast raises where that would change one."""
    found: Array = _cast(value, target, safe=safe)
    return found


def arange(count: int) -> Array:
    """Return the numbers from 0 up to the count."""
    found: Array = _arange(0, count)
    return found


def repeated(value: Scalar, count: int) -> Array:
    """Return one value as many times."""
    found: Array = _repeat(value, count)
    return found


def nulls(of: pa.DataType, count: int) -> Array:
    """Return a column of NULLs."""
    found: Array = _nulls(count, of)
    return found


def parts_of_lists(lists: Array) -> tuple[Array, Array]:
    """Return the offsets and all items of lists that have offsets."""
    if isinstance(lists, pa.ListArray | pa.LargeListArray):
        return lists.offsets, lists.values
    raise TypeError(f"no list with offsets: {lists.type}")


def side_by_side(columns: list[Array]) -> Array:
    """Return a struct of columns, as ``case_when`` takes its conditions."""
    found: Array = _make_struct(*columns)
    return found


def is_in(values: Array) -> Kernel:
    """Return what says whether a value is one of these; NULL is none of them."""
    return kernel("is_in", pc.SetLookupOptions(value_set=values, skip_nulls=True))


def part_of_text(start: int, stop: int | None) -> Kernel:
    """Return what takes characters out of a text, as a Python slice would."""
    return kernel("utf8_slice_codeunits", pc.SliceOptions(start, stop))


def replaced(old: str, new: str) -> Kernel:
    """Return what replaces each occurrence of one text by another."""
    return kernel("replace_substring", pc.ReplaceSubstringOptions(old, new))


def rounded(digits: int) -> Kernel:
    """Return what rounds to digits after the point, halves away from zero."""
    return kernel("round", pc.RoundOptions(digits, "half_towards_infinity"))


def field_of(name: str) -> Kernel:
    """Return what takes a field out of a struct."""
    return kernel("struct_field", pc.StructFieldOptions([name]))


def by_value(run: Kernel) -> Kernel:
    """Return what computes each distinct value once: ``strftime`` takes 0.35 µs for one."""

    def compute(value: Array) -> Array:
        encoded = _dictionary_encode(value)
        if not isinstance(encoded, pa.DictionaryArray):
            raise TypeError(f"no dictionary: {encoded.type}")
        return run(encoded.dictionary).take(encoded.indices)

    return compute


def sum_of(numbers: Array) -> int:
    """Return the sum of int64s, 0 if there are none."""
    return int(_sum(numbers).as_py() or 0)


def count_true(mask: Array) -> int:
    """Return how many are true."""
    return mask.true_count if isinstance(mask, pa.BooleanArray) else 0
