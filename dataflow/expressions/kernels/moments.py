"""Dates and times: parts, truncation, differences, formats, and calendar intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.expressions import vector
from dataflow.expressions.arrow import to_arrow
from dataflow.expressions.kernels.calendar import add_months, floor_divide
from dataflow.expressions.kernels.formats import of_days_alone, parser, split_fraction
from dataflow.expressions.kernels.step import (
    Builder,
    Evaluate,
    Step,
    partial,
    total,
)
from dataflow.expressions.moments import DAY_S
from dataflow.expressions.types import TICKS, DurationType, TimestampType, TimeType, Type
from dataflow.expressions.vector import Array, Datum, Kernel

_DAY_OF_WEEK: Final = pc.DayOfWeekOptions(count_from_zero=False, week_start=1)
_PARTS: Final[Mapping[str, Kernel]] = {
    "week": vector.kernel("iso_week"),
    "dayofweek": vector.kernel("day_of_week", _DAY_OF_WEEK),
    "dayofyear": vector.kernel("day_of_year"),
}
_SIX_DIGITS: Final = vector.kernel("utf8_lpad", pc.PadOptions(6, "0"))
_BY_CLOCK: Final = frozenset({"year", "quarter", "month", "week", "day"})


def _part(step: Step) -> Evaluate:
    name, moment = step.text(0), step.operands[1]
    if name == "epoch":
        ticks = TICKS[_unit(moment.type)]
        return total(lambda v: floor_divide(vector.cast(v, pa.int64()), ticks), [moment])
    run = _PARTS[name] if name in _PARTS else vector.kernel(name)
    return total(run, [moment])


def _trunc(step: Step) -> Evaluate:
    unit: Any = step.text(0)  # one of its names: check has seen to that
    options = pc.RoundTemporalOptions(unit=unit, week_starts_monday=True)
    return total(vector.kernel("floor_temporal", options), step.operands[1:])


def _diff(step: Step) -> Evaluate:
    unit, moments = step.text(0), step.operands[1:]
    if unit == "month":
        between: Kernel = _months_between
    elif unit == "week":
        between = vector.kernel("weeks_between", pc.DayOfWeekOptions(week_start=1))
    else:
        between = vector.kernel(f"{unit}s_between")
    of = moments[0].type
    if not isinstance(of, TimestampType) or not of.zone:
        return total(between, moments)
    # of zoned moments the kernels read the clocks, and an hour less or more when they change
    plain = to_arrow(TimestampType(of.unit))

    def boundaries(start: Datum, end: Datum) -> Array:
        if unit in _BY_CLOCK:
            return between(vector.local_clock(start), vector.local_clock(end))
        return between(vector.cast(start, plain), vector.cast(end, plain))

    return total(boundaries, moments)


def _months_between(start: Datum, end: Datum) -> Array:
    years = vector.multiply(vector.subtract(vector.year(end), vector.year(start)), pa.scalar(12))
    return vector.add(years, vector.subtract(vector.month(end), vector.month(start)))


def _days_apart(step: Step) -> Evaluate:
    def run(left: Datum, right: Datum) -> Array:
        return vector.subtract(_days(left), _days(right))

    return total(run, step.operands)


def _days(value: Datum) -> Array:
    return vector.cast(vector.cast(value, pa.int32()), pa.int64())


def _add_days(step: Step) -> Evaluate:
    days = step.number(1)

    def run(values: Sequence[Datum]) -> Array:
        moved = vector.add(_days(values[0]), pa.scalar(days))
        return vector.cast(vector.cast(moved, pa.int32()), pa.date32())

    return _moved(step, run)


def _add_months(step: Step) -> Evaluate:
    of, months = step.node.type, step.number(1)
    if not isinstance(of, TimestampType):
        return _moved(step, lambda values: add_months(values[0], months))
    ticks = pa.scalar(DAY_S * TICKS[of.unit])
    naive = to_arrow(TimestampType(of.unit))
    options = pc.AssumeTimezoneOptions(
        of.zone or "UTC", ambiguous="earliest", nonexistent="earliest"
    )
    in_zone = vector.kernel("assume_timezone", options)

    def run(values: Sequence[Datum]) -> Array:
        clock = vector.local_clock(values[0]) if of.zone else values[0]
        day = vector.cast(clock, pa.date32())
        of_day = vector.subtract(vector.cast(clock, pa.int64()), vector.multiply(_days(day), ticks))
        start = vector.multiply_checked(_days(add_months(day, months)), ticks)
        moved = vector.cast(vector.add_checked(start, of_day), naive)
        if not of.zone:
            return moved
        return in_zone(moved)

    return _moved(step, run)


def _moved(step: Step, run: Callable[[Sequence[Datum]], Any]) -> Evaluate:
    amount = step.number(1)
    unit = "days" if step.node.op == "add_days" else "months"
    complaint = (0, f" moved by {amount} {unit} is out of the range of {step.node.type}")
    return partial(run, Step(step.node, step.operands[:1], step.source), complaint)


def _strptime(step: Step) -> Evaluate:
    style = step.text(1)
    parse = parser(style)

    def run(values: Sequence[Datum]) -> Array:
        found, value = parse(values[0]), values[0]
        if isinstance(value, pa.Array) and found.null_count > value.null_count:
            raise pa.ArrowInvalid("not in this format")
        return found

    def suspect(values: Sequence[Datum]) -> Array:
        return vector.both(vector.is_valid(values[0]), vector.is_null(parse(values[0])))

    only = Step(step.node, step.operands[:1], step.source)
    return partial(run, only, ("'", 0, f"' is not in the format '{style[:64]}'"), suspect)


def _strftime(step: Step) -> Evaluate:
    moment = step.operands[0]
    # %f is not of C; %S would write the fraction too, so that the rest gets whole seconds
    pieces = split_fraction(step.text(1))
    styles = [vector.kernel("strftime", pc.StrftimeOptions(piece)) for piece in pieces]
    styles = [vector.by_value(style) for style in styles]
    options = pc.RoundTemporalOptions(unit="day" if of_days_alone(step.text(1)) else "second")
    floor = vector.kernel("floor_temporal", options)
    of = moment.type
    seconds = to_arrow(TimestampType("s", of.zone)) if isinstance(of, TimestampType) else None

    def run(value: Datum) -> Array:
        whole = value if seconds is None else vector.cast(floor(value), seconds)
        texts = [style(whole) for style in styles]
        if len(texts) == 1:
            return texts[0]
        return vector.joined(*texts, _microseconds(value, of))

    return total(run, [moment])


def _microseconds(value: Datum, of: Type) -> Datum:
    """Return the six digits of the fraction of a second."""
    if not isinstance(of, TimestampType):
        return pa.scalar("000000")
    ticks = TICKS[of.unit]
    instant = vector.cast(value, pa.int64())
    rest = vector.subtract(instant, vector.multiply(floor_divide(instant, ticks), pa.scalar(ticks)))
    micros = vector.divide(vector.multiply(rest, pa.scalar(TICKS["us"])), pa.scalar(ticks))
    return _SIX_DIGITS(vector.cast(micros, pa.string()))


def _epoch_ms(step: Step) -> Evaluate:
    ticks = TICKS[_unit(step.operands[0].type)]
    if ticks < TICKS["ms"]:
        factor = pa.scalar(TICKS["ms"] // ticks)

        def run(values: Sequence[Datum]) -> Array:
            return vector.multiply_checked(vector.cast(values[0], pa.int64()), factor)

        return partial(run, step, (0, " does not fit in int64 milliseconds"))
    divisor = ticks // TICKS["ms"]
    return total(lambda v: floor_divide(vector.cast(v, pa.int64()), divisor), step.operands)


def _from_epoch_ms(step: Step) -> Evaluate:
    target = to_arrow(step.node.type)
    return total(lambda value: vector.cast(value, target), step.operands)


def _unit(of: Type) -> str:
    return of.unit if isinstance(of, TimestampType | TimeType | DurationType) else "s"


MOMENTS: Final[Mapping[str, Builder]] = {
    "part": _part,
    "trunc": _trunc,
    "diff": _diff,
    "days_apart": _days_apart,
    "add_days": _add_days,
    "add_months": _add_months,
    "strptime": _strptime,
    "strftime": _strftime,
    "epoch_ms": _epoch_ms,
    "from_epoch_ms": _from_epoch_ms,
}
