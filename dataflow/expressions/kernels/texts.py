"""Text: Arrow's kernels on characters, LIKE by the cheapest of them, and a limit on what grows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.core.errors import Code
from dataflow.expressions import vector
from dataflow.expressions.kernels.nested import items
from dataflow.expressions.kernels.step import (
    Builder,
    Evaluate,
    Operand,
    Step,
    partial,
    simple,
    total,
)
from dataflow.expressions.vector import Array, Datum, Kernel

# A chain of replace() multiplies the length with each link: 20 links make 1 MiB of one byte. No
# honest value is longer, and a batch of such values would be refused by its memory limit.
GROWN_BYTES_MAX: Final = 1_048_576
# What all texts of a batch may grow to: a worker's memory is a few times that, Arrow's limit 2 GiB.
GROWN_BATCH_BYTES_MAX: Final = 268_435_456

_ANY, _ONE = object(), object()
_SPECIAL: Final = re.compile(r"([\\.+*?()|\[\]{}^$])")


def _trim(name: str) -> Builder:
    def build(step: Step) -> Evaluate:
        value = step.operands[0]
        if len(step.operands) == 1:
            return total(vector.kernel(f"{name}_whitespace"), [value])
        return total(vector.kernel(name, pc.TrimOptions(step.text(1))), [value])

    return build


def _length(name: str) -> Builder:
    def build(step: Step) -> Evaluate:
        run = vector.kernel(name)
        return total(lambda value: vector.cast(run(value), pa.int64()), step.operands)

    return build


def _substring(step: Step) -> Evaluate:
    start = step.number(1)
    start = start - 1 if start > 0 else start
    stop: int | None = None
    length = step.number(2, -1)
    if length >= 0:
        stop = start + length
        if start < 0 <= stop:
            stop = None  # from the end of the text, and up to it
    options = pc.SliceOptions(start, stop)
    return total(vector.kernel("utf8_slice_codeunits", options), step.operands[:1])


def _replace(step: Step) -> Evaluate:
    old, new = step.text(1), step.text(2)
    if not old:
        return step.operands[0].evaluate
    run = vector.kernel("replace_substring", pc.ReplaceSubstringOptions(old, new))
    growth = len(new.encode()) - len(old.encode())
    if growth <= 0:
        return total(run, step.operands[:1])
    count = vector.kernel("count_substring", pc.MatchSubstringOptions(old))

    def length(value: Datum) -> Array:
        found = vector.cast(count(value), pa.int64())
        return vector.add(vector.byte_count(value), vector.multiply(found, pa.scalar(growth)))

    return _growing(step, run, length)


def _growing(step: Step, run: Kernel, length: Kernel) -> Evaluate:
    """Return what calls a kernel on the texts whose result has a bearable length."""
    most = pa.scalar(GROWN_BYTES_MAX)

    def too_long(lengths: Datum) -> Array:
        return vector.coalesce(vector.greater(lengths, most), vector.FALSE)

    def checked(values: Sequence[Datum]) -> Array:
        lengths = length(values[0])
        if vector.count_true(too_long(lengths)):
            raise pa.ArrowInvalid("too long")
        if vector.sum_of(lengths) > GROWN_BATCH_BYTES_MAX:
            problem = f"the texts of this batch grow past {GROWN_BATCH_BYTES_MAX:,} bytes"
            remedy = "read smaller batches: batchSize"
            raise step.source.error(problem, step.node.at, remedy=remedy, code=Code.TOO_LARGE)
        return run(values[0])

    complaint = (f"the text grows past {GROWN_BYTES_MAX:,} bytes",)
    only = Step(step.node, step.operands[:1], step.source)
    return partial(checked, only, complaint, lambda values: too_long(length(values[0])))


def _contains(name: str) -> Builder:
    def build(step: Step) -> Evaluate:
        return total(vector.kernel(name, pc.MatchSubstringOptions(step.text(1))), step.operands[:1])

    return build


def _position(step: Step) -> Evaluate:
    wanted = step.text(0)
    find = vector.kernel("find_substring", pc.MatchSubstringOptions(wanted))
    one = vector.ONE
    if not wanted:
        null = vector.NO_INT64
        return total(
            lambda value: vector.if_else(vector.is_valid(value), one, null), step.operands[1:]
        )
    split = vector.kernel("split_pattern", pc.SplitPatternOptions(wanted, max_splits=1))

    def run(value: Datum) -> Array:
        # the kernel finds bytes; the characters before them are the first piece of a split
        before = vector.characters(items(split(value), vector.ZERO, None))
        place = vector.add(vector.cast(before, pa.int64()), one)
        missing = vector.less(find(value), pa.scalar(0, pa.int32()))
        return vector.if_else(missing, vector.ZERO, place)

    return total(run, step.operands[1:])


def _split_part(step: Step) -> Evaluate:
    split = vector.kernel("split_pattern", pc.SplitPatternOptions(step.text(1)))
    number = step.number(2)
    index, empty = pa.scalar(number - 1 if number > 0 else number), pa.scalar("")

    def run(value: Datum) -> Array:
        part = vector.coalesce(items(split(value), index, None), empty)
        return vector.if_else(vector.is_valid(value), part, vector.NO_TEXT)

    return total(run, step.operands[:1])


def _pad(name: str) -> Builder:
    def build(step: Step) -> Evaluate:
        width = step.number(1)
        pad = vector.kernel(name, pc.PadOptions(width, step.text(2, " ")))
        cut = vector.kernel("utf8_slice_codeunits", pc.SliceOptions(0, width))
        return total(lambda value: cut(pad(value)), step.operands[:1])

    return build


def _join(step: Step) -> Evaluate:
    # of a scalar NULL the kernel makes a column without rows (pyarrow 26.0.1)
    empty = pa.scalar("")
    rest = [operand for operand in step.operands if not _is_null(operand)]
    if len(rest) == len(step.operands):
        return total(lambda *values: vector.joined(*values, empty), rest)
    return total(
        lambda *values: vector.if_else(vector.NO_BOOL, empty, vector.joined(*values, empty)), rest
    )


def _concat(step: Step) -> Evaluate:
    empty = pa.scalar("")

    def run(*values: Datum) -> Array:
        return vector.joined(*[vector.coalesce(value, empty) for value in values], empty)

    return total(run, [operand for operand in step.operands if not _is_null(operand)])


def _is_null(operand: Operand) -> bool:
    return operand.constant is not None and not operand.constant.is_valid


def _like(step: Step) -> Evaluate:
    ignore_case = step.node.op == "ilike"
    pieces = list(_pieces(step.text(1), step.text(2)))
    if not ignore_case and all(isinstance(piece, str) for piece in pieces):
        equal, wanted = vector.kernel("equal"), pa.scalar("".join(map(str, pieces)))
        return total(lambda value: equal(value, wanted), step.operands[:1])
    name, pattern = _cheapest(pieces, ignore_case=ignore_case)
    options = pc.MatchSubstringOptions(pattern, ignore_case=ignore_case)
    return total(vector.kernel(name, options), step.operands[:1])


def _pieces(pattern: str, escape: str) -> Iterator[object]:
    """Yield literal characters and the two wildcards of a pattern."""
    characters = iter(pattern)
    for character in characters:
        if escape and character == escape:
            yield next(characters)
        else:
            yield {"%": _ANY, "_": _ONE}.get(character, character)


def _cheapest(pieces: list[object], *, ignore_case: bool) -> tuple[str, str]:
    """Return the kernel and its pattern: a search for a text where no wildcard is inside."""
    first = bool(pieces) and pieces[0] is _ANY
    last = bool(pieces) and pieces[-1] is _ANY
    inner = pieces[1 if first else 0 : -1 if last and len(pieces) > 1 else None]
    literal = "".join(piece for piece in inner if isinstance(piece, str))
    if len(literal) == len(inner) and (first or last) and not ignore_case:
        ends = {(True, True): "match_substring", (True, False): "ends_with"}
        return ends.get((first, last), "starts_with"), literal
    return "match_substring_regex", r"(?s)\A" + "".join(map(_regex, pieces)) + r"\z"


def _regex(piece: object) -> str:
    if piece is _ANY:
        return ".*"
    return "." if piece is _ONE else _SPECIAL.sub(r"\\\1", str(piece))


def _regexp_matches(step: Step) -> Evaluate:
    _require_regex(step)
    options = pc.MatchSubstringOptions(step.text(1), ignore_case=step.text(2) == "i")
    return total(vector.kernel("match_substring_regex", options), step.operands[:1])


def _regexp_replace(step: Step) -> Evaluate:
    _require_regex(step)
    pattern, new = step.text(1), step.text(2)
    run = vector.kernel("replace_substring_regex", pc.ReplaceSubstringOptions(pattern, new))
    try:
        run(pa.array([""]))
    except pa.ArrowInvalid as error:
        raise step.source.error(f"invalid replacement: {error}", step.node.args[2].at) from error
    count = vector.kernel("count_substring_regex", pc.MatchSubstringOptions(pattern))
    groups = len(re.findall(r"\\[0-9]", new.replace("\\\\", "")))
    fixed, copies = pa.scalar(len(new.encode())), pa.scalar(groups + 1)

    def length(value: Datum) -> Array:
        # each match adds the replacement, and each group in it at most what was matched
        matches = vector.cast(count(value), pa.int64())
        return vector.add(
            vector.multiply(matches, fixed), vector.multiply(vector.byte_count(value), copies)
        )

    return _growing(step, run, length)


def _require_regex(step: Step) -> None:
    """Refuse a pattern that RE2 refuses; it compiles it with the first row, and so do we."""
    options = pc.MatchSubstringOptions(step.text(1))
    try:
        vector.kernel("match_substring_regex", options)(pa.array([""]))
    except pa.ArrowInvalid as error:
        remedy = "RE2's syntax: no look-around and no back-references, and so never slow"
        reason = str(error).partition(":")[2].strip() or str(error)
        problem = f"invalid regular expression: {reason}"
        raise step.source.error(problem, step.node.args[1].at, remedy=remedy) from error


TEXTS: Final[Mapping[str, Builder]] = {
    "lower": simple("utf8_lower"),
    "upper": simple("utf8_upper"),
    "reverse": simple("utf8_reverse"),
    "trim": _trim("utf8_trim"),
    "ltrim": _trim("utf8_ltrim"),
    "rtrim": _trim("utf8_rtrim"),
    "length": _length("utf8_length"),
    "byte_length": _length("binary_length"),
    "substring": _substring,
    "replace": _replace,
    "contains": _contains("match_substring"),
    "starts_with": _contains("starts_with"),
    "ends_with": _contains("ends_with"),
    "position": _position,
    "split_part": _split_part,
    "lpad": _pad("utf8_lpad"),
    "rpad": _pad("utf8_rpad"),
    "join": _join,
    "concat": _concat,
    "like": _like,
    "ilike": _like,
    "regexp_matches": _regexp_matches,
    "regexp_replace": _regexp_replace,
}
