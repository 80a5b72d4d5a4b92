"""Formats of dates and times, and the days that strptime lets through although no month has them.

C's strptime checks that a day is 1 to 31 and no more: 2024-02-30 comes back as 2024-03-01. Such a
day can only come back as the first, second or third, so that only such rows are looked at again.
"""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.expressions import vector
from dataflow.expressions.frame import scattered
from dataflow.expressions.vector import Array, Kernel

_SHORT: Final = {"%F": "%Y-%m-%d", "%D": "%m/%d/%y", "%T": "%H:%M:%S", "%R": "%H:%M", "%e": "%d"}
_OF_DAYS: Final = frozenset(f"%{code}" for code in "YymbBhdejaAFD%")
_ZONE: Final = r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})"
_PATTERNS: Final = {
    **dict.fromkeys(("%m", "%H", "%I", "%M", "%S", "%y"), r"\s*[0-9]{1,2}"),
    **dict.fromkeys(("%b", "%B", "%h", "%a", "%A"), r"\pL+"),
    "%Y": r"\s*[+-]?[0-9]+",
    "%d": r"\s*(?P<day>[0-9]{1,2})",
    "%j": r"\s*[0-9]{1,3}",
    "%p": r"(?i:[AP]M)",
    "%%": "%",
}
_LATE_DAYS: Final = pa.scalar(3)  # 31 February would be the third of March
_DAY_FIELD: Final = vector.field_of("day")
_ZONE_FIELD: Final = vector.field_of("zone")
_WITHOUT_Z: Final = vector.replaced("Z", "+0000")
_WITHOUT_COLON: Final = vector.replaced(":", "")
_WEST: Final = vector.kernel("starts_with", pc.MatchSubstringOptions("-"))
_HOURS: Final = vector.part_of_text(1, 3)
_MINUTES: Final = vector.part_of_text(3, 5)
_HOUR_US: Final = pa.scalar(3_600_000_000)
_MINUTE_US: Final = pa.scalar(60_000_000)


def parser(style: str) -> Kernel:
    """Return what reads texts in a format as timestamps, NULL where they aren't in it."""
    parse = vector.kernel("strptime", pc.StrptimeOptions(style, "us", error_is_null=True))
    tokens = _tokens(re.sub(r"%[FDTRe]", lambda match: _SHORT[match[0]], style))
    if tokens.count("%d") != 1:
        return parse
    impossible, zoned = _impossible(tokens), "%z" in tokens

    def read(value: Array) -> Array:
        found = parse(value)
        if zoned:  # the day of the text is another one in UTC
            doubtful = vector.is_valid(found)
        else:
            doubtful = vector.coalesce(
                vector.less_equal(vector.day(found), _LATE_DAYS), vector.FALSE
            )
        if not vector.count_true(doubtful):
            return found
        bad = impossible(value.filter(doubtful), found.filter(doubtful))
        bad = vector.coalesce(scattered(bad, doubtful), vector.FALSE)
        return vector.if_else(bad, pa.scalar(None, found.type), found)

    return read


def of_days_alone(style: str) -> bool:
    """Return whether a format writes the same all day."""
    return all(code in _OF_DAYS for code in _tokens(style) if code.startswith("%"))


def split_fraction(style: str) -> list[str]:
    """Split a format at ``%f``, which ``%%f`` is not."""
    pieces = [""]
    for code in _tokens(style):
        if code == "%f":
            pieces.append("")
        else:
            pieces[-1] += code
    return pieces


def _impossible(tokens: list[str]) -> Kernel:
    """Return what finds the texts whose day is past the end of their month."""
    pattern = "".join(_PATTERNS.get(token, _quoted(token)) for token in tokens)
    extract = vector.kernel("extract_regex", pc.ExtractRegexOptions(rf"\A{pattern}\s*\z"))
    zoned = "%z" in tokens

    def find(value: Array, found: Array) -> Array:
        fields = extract(value)
        clock = vector.cast(found, pa.timestamp("us"))
        if zoned:
            clock = vector.add(clock, _offset(_ZONE_FIELD(fields)))
        day = vector.cast(_DAY_FIELD(fields), pa.int64())
        return vector.not_equal(vector.day(clock), day)

    return find


def _offset(zone: Array) -> Array:
    """Return offsets from UTC, written as ``Z``, ``+01:00`` or ``-0330``, as durations."""
    digits = _WITHOUT_COLON(_WITHOUT_Z(zone))
    hours = vector.cast(_HOURS(digits), pa.int64())
    minutes = vector.cast(_MINUTES(digits), pa.int64())
    amount = vector.add(vector.multiply(hours, _HOUR_US), vector.multiply(minutes, _MINUTE_US))
    signed = vector.if_else(_WEST(digits), vector.negate(amount), amount)
    return vector.cast(signed, pa.duration("us"))


def _tokens(style: str) -> list[str]:
    return re.findall(r"(?s)%.|.", style)


def _quoted(code: str) -> str:
    if code == "%z":
        return _ZONE
    return r"\s*" if code.isspace() else re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", code)
