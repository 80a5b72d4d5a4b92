"""Numbers as Avro and the place of a Protobuf message have them: zigzag, seven bits a byte."""

from __future__ import annotations

MORE, BITS = 0x80, 7
SHIFT_MAX = 28
"""32 bits are read, and no more."""


def varint(number: int) -> bytes:
    """Return a number that is not negative."""
    left, found = number << 1, bytearray()
    while left >= MORE:
        found.append(left % MORE | MORE)
        left >>= BITS
    return bytes([*found, left])


def read_varint(value: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it.

    Raises:
        ValueError: there is none.
    """
    number = shift = 0
    while at < len(value) and shift <= SHIFT_MAX:
        byte = value[at]
        number |= byte % MORE << shift
        at, shift = at + 1, shift + BITS
        if byte < MORE:
            return (number >> 1) ^ -(number & 1), at
    raise ValueError("no place of a message")
