"""Which types hold every value of another of their kind, and more. Imports no Arrow."""

from __future__ import annotations

from dataflow.connect.types import DecimalType, Kind, TimestampType, Type

_SIGNED = {Kind.INT8: 8, Kind.INT16: 16, Kind.INT32: 32, Kind.INT64: 64}
_UNSIGNED = {Kind.UINT8: 8, Kind.UINT16: 16, Kind.UINT32: 32, Kind.UINT64: 64}
_FLOATS = {Kind.FLOAT32: 24, Kind.FLOAT64: 53}
"""Bits; of a float those of its whole numbers."""

_UNITS = ("s", "ms", "us", "ns")


def is_wider(of: Type, *, than: Type) -> bool:
    """Tell whether a type holds all that another one does, and more."""
    if isinstance(of, DecimalType) and isinstance(than, DecimalType):
        whole, fraction = of.precision - of.scale, of.scale
        return whole >= than.precision - than.scale and fraction >= than.scale
    if isinstance(of, TimestampType) and isinstance(than, TimestampType):
        return of.zone == than.zone and _UNITS.index(of.unit) > _UNITS.index(than.unit)
    return _bits(of.kind, than.kind)


def _bits(of: Kind, than: Kind) -> bool:
    signed, unsigned = _SIGNED.get(than, 0), _UNSIGNED.get(than, 0)
    if of in _SIGNED:
        return _SIGNED[of] > max(signed, unsigned) > 0
    if of in _UNSIGNED:
        return _UNSIGNED[of] > unsigned > 0
    if of in _FLOATS:
        return _FLOATS[of] > max(signed - 1, unsigned, _FLOATS.get(than, 0)) > 0
    return False
