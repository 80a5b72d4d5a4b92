"""The types of expressions: what a column holds, whichever way Arrow stores it.

``str(type)`` is the name that users write, and ``parse_type(str(type)) == type``. ``string``
covers Arrow's string, large_string, string_view and dictionaries of them; so do the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

PRECISION_MAX = 76  # Arrow's decimal256
UNITS = ("s", "ms", "us", "ns")  # coarse to fine, as Arrow names them
TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}  # in a second


class Kind(StrEnum):
    """The families of types."""

    NULL = "null"
    BOOL = "bool"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    DECIMAL = "decimal"
    STRING = "string"
    BYTES = "bytes"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    DURATION = "duration"
    INTERVAL = "interval"
    LIST = "list"
    STRUCT = "struct"
    OPAQUE = "opaque"


@dataclass(frozen=True, slots=True)
class Type:
    """A type without parameters; the others derive from it."""

    kind: Kind

    def __str__(self) -> str:
        return self.kind.value


@dataclass(frozen=True, slots=True)
class DecimalType(Type):
    """Exact numbers of ``precision`` digits, ``scale`` of them after the point."""

    kind: Kind = field(default=Kind.DECIMAL, init=False)
    precision: int
    scale: int

    def __str__(self) -> str:
        return f"decimal({self.precision}, {self.scale})"


@dataclass(frozen=True, slots=True)
class TimeType(Type):
    """A time of day."""

    kind: Kind = field(default=Kind.TIME, init=False)
    unit: str = "us"

    def __str__(self) -> str:
        return "time" if self.unit == "us" else f"time({self.unit})"


@dataclass(frozen=True, slots=True)
class TimestampType(Type):
    """A moment: wall-clock time without ``zone``, else an instant shown in that zone."""

    kind: Kind = field(default=Kind.TIMESTAMP, init=False)
    unit: str = "us"
    zone: str = ""

    def __str__(self) -> str:
        if self.zone:
            return f"timestamp({self.unit}, {_literal(self.zone)})"
        return "timestamp" if self.unit == "us" else f"timestamp({self.unit})"


@dataclass(frozen=True, slots=True)
class DurationType(Type):
    """A length of time."""

    kind: Kind = field(default=Kind.DURATION, init=False)
    unit: str = "us"

    def __str__(self) -> str:
        return "duration" if self.unit == "us" else f"duration({self.unit})"


@dataclass(frozen=True, slots=True)
class ListType(Type):
    """Lists of one type of item."""

    kind: Kind = field(default=Kind.LIST, init=False)
    item: Type

    def __str__(self) -> str:
        return f"list<{self.item}>"


@dataclass(frozen=True, slots=True)
class StructType(Type):
    """Named fields in their order."""

    kind: Kind = field(default=Kind.STRUCT, init=False)
    fields: tuple[tuple[str, Type], ...]

    def __str__(self) -> str:
        return f"struct<{', '.join(f'{_name(name)}: {item}' for name, item in self.fields)}>"

    def get(self, name: str) -> Type | None:
        """Return the type of the field of that name, or None."""
        return next((item for key, item in self.fields if key == name), None)


@dataclass(frozen=True, slots=True)
class OpaqueType(Type):
    """What expressions can carry and compare with NULL, and nothing else (maps, unions)."""

    kind: Kind = field(default=Kind.OPAQUE, init=False)
    name: str

    def __str__(self) -> str:
        return self.name


NULL: Final = Type(Kind.NULL)
BOOL: Final = Type(Kind.BOOL)
INT64: Final = Type(Kind.INT64)
UINT64: Final = Type(Kind.UINT64)
FLOAT32: Final = Type(Kind.FLOAT32)
FLOAT64: Final = Type(Kind.FLOAT64)
STRING: Final = Type(Kind.STRING)
BYTES: Final = Type(Kind.BYTES)
DATE: Final = Type(Kind.DATE)
TIMESTAMP: Final = TimestampType()
DURATION: Final = DurationType()
INTERVAL: Final = Type(Kind.INTERVAL)  # of calendar months: a literal only, no column has it

# kind -> least and greatest value; the order is the order of widening
INTEGER_BOUNDS: Final = {
    **{Kind(f"int{bits}"): (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{Kind(f"uint{bits}"): (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
INTEGERS: Final = frozenset(INTEGER_BOUNDS)
UNSIGNED: Final = frozenset({Kind.UINT8, Kind.UINT16, Kind.UINT32, Kind.UINT64})
FLOATS: Final = frozenset({Kind.FLOAT32, Kind.FLOAT64})
NUMBERS: Final = INTEGERS | FLOATS | {Kind.DECIMAL}
NESTED: Final = frozenset({Kind.LIST, Kind.STRUCT})

_PLAIN_NAME = re.compile(r"[^\W\d]\w*\Z")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(text: str) -> str:
    return text if _PLAIN_NAME.match(text) else '"' + text.replace('"', '""') + '"'
