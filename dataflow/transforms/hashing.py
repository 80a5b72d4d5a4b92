"""Key columns as 128 bits a row, computed in whole columns and the same on every machine.

Two rows whose keys differ have the same 128 bits with a chance of 3e-25 among ten million keys;
state holds these instead of the keys. They are kept across releases, so nothing here may ever give
other bits for the same key: neither Polars nor Arrow promises that of its own hashes.

Keys are equal as SQL's GROUP BY has it: NULL equals NULL, NaN equals NaN, -0.0 equals 0.0. Who
joins leaves out the rows that are not ``whole``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from dataflow.connect import Rejected
from dataflow.connect.types import from_arrow
from dataflow.transforms.binding import Array

Words: TypeAlias = npt.NDArray[np.uint64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_HIGH = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
"""Of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014)."""

_LOW = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
"""Of MurmurHash3's last step (Appleby, 2011): the two halves must not go wrong together."""

_SEEDS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03))
_ABSENT = np.uint64(0xA0761D6478BD642F)
"""Any odd numbers; the last stands for NULL."""

_LONG_BYTES = 128
"""Beyond it one call a value takes less time than its words in turn, each over whole columns."""

_MASKS = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)


class Hashed(NamedTuple):
    """The keys of a batch.

    Attributes:
        high, low: 64 bits each, a row.
        whole: the rows without a NULL in their keys; None if all are.
    """

    high: Words
    low: Words
    whole: Mask | None

    def take(self, rows: npt.NDArray[np.int64] | Mask) -> Hashed:
        """Return those of some rows."""
        whole = None if self.whole is None else self.whole[rows]
        return Hashed(self.high[rows], self.low[rows], whole)


def hashed(batch: pa.RecordBatch, keys: Sequence[str]) -> Hashed:
    """Return the keys of a batch by their bits.

    Raises:
        Rejected: a column is missing, or of a type that no key can be of.
    """
    high, low = (np.full(batch.num_rows, seed) for seed in _SEEDS)
    whole: Mask | None = None
    for name in keys:
        if name not in batch.schema.names:
            raise Rejected(f"column {name!r} is missing; there are {', '.join(batch.schema.names)}")
        column = batch.column(name)
        before = high, low
        high, low = _with_column(high, low, column, name)
        if column.null_count:
            valid = _validity(column)
            whole = valid if whole is None else whole & valid
            high = np.where(valid, high, _mixed(before[0] ^ _ABSENT, _LOW))
            low = np.where(valid, low, _mixed(before[1] ^ _ABSENT, _HIGH))
    return Hashed(high, low, whole)


def _mixed(words: Words, by: tuple[np.uint64, np.uint64]) -> Words:
    """Return words whose every bit depends on every bit, one to one."""
    words = words ^ (words >> np.uint64(32))
    words *= by[0]
    words ^= words >> np.uint64(29)
    words *= by[1]
    words ^= words >> np.uint64(32)
    return words


def _with_words(high: Words, low: Words, words: Words) -> tuple[Words, Words]:
    return _mixed(high ^ words, _HIGH), _mixed(low ^ words, _LOW)


def _validity(column: Array) -> Mask:
    valid: Mask = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _with_column(high: Words, low: Words, column: Array, name: str) -> tuple[Words, Words]:
    """Return the bits with a column's added; of no meaning where it is NULL."""
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    of = column.type
    if pa.types.is_null(of):
        return high, low
    if _is_text(of):
        return _with_texts(high, low, column)
    if pa.types.is_decimal(of):
        width = of.byte_width // 8
        parts = _values(column, np.dtype(np.uint64), width).reshape(-1, width)
        for at in range(width):
            high, low = _with_words(high, low, parts[:, at])
        return high, low
    return _with_words(high, low, _words(column, name))


def _is_text(of: pa.DataType) -> bool:
    t = pa.types
    binary = t.is_binary(of) or t.is_large_binary(of) or t.is_binary_view(of)
    text = t.is_string(of) or t.is_large_string(of) or t.is_string_view(of)
    return binary or text or t.is_fixed_size_binary(of)


def _values(column: Array, of: np.dtype[Any], width: int = 1) -> npt.NDArray[Any]:
    """Return what a column of numbers holds, without a copy; anything where it is NULL."""
    held = column.buffers()[1]
    if held is None:
        return np.zeros(len(column) * width, of)
    values: npt.NDArray[Any] = np.frombuffer(memoryview(held), of)
    return values[column.offset * width : (column.offset + len(column)) * width]


def _words(column: Array, name: str) -> Words:
    """Return a column of values of at most 64 bits as words; equal values are equal words."""
    of, t = column.type, pa.types
    if t.is_boolean(of):
        column = column.cast(pa.uint8())
    elif t.is_floating(of):
        return _float_words(column)
    elif t.is_date64(of):
        column = column.cast(pa.date32())
    elif not (t.is_integer(of) or t.is_temporal(of)) or t.is_interval(of):
        raise Rejected(
            f"column {name!r} is {from_arrow(of)}, which no key can be; take a field of it, or"
            " cast it, in a map transform before"
        )
    sign = "u" if t.is_unsigned_integer(column.type) else "i"
    numbers = _values(column, np.dtype(f"{sign}{column.type.bit_width // 8}"))
    return numbers.astype(np.int64 if sign == "i" else np.uint64).view(np.uint64)


def _float_words(column: Array) -> Words:
    numbers = _values(column, np.dtype(f"f{column.type.bit_width // 8}")).astype(np.float64)
    numbers = numbers + 0.0  # of -0.0 this is 0.0
    odd = np.isnan(numbers)
    if odd.any():
        numbers[odd] = np.nan
    return numbers.view(np.uint64)


class _Texts:
    """The bytes of a column of texts, to be read as words at any place."""

    def __init__(self, column: Array) -> None:
        text = column.cast(pa.large_binary())
        offsets_held, data = text.buffers()[1:]
        offsets = np.zeros(1, np.int64)
        if offsets_held is not None:
            offsets = np.frombuffer(memoryview(offsets_held), np.int64)
            offsets = offsets[text.offset : text.offset + len(text) + 1]
        begin, end = int(offsets[0]), int(offsets[-1])
        held = np.zeros(end - begin + 8, np.uint8)  # so that the last word may be read whole
        if data is not None:
            held[:-8] = np.frombuffer(memoryview(data), np.uint8)[begin:end]
        self._held = held
        self.starts = offsets[:-1] - begin
        sizes = np.diff(offsets)
        self.sizes = np.where(_validity(column), sizes, 0) if column.null_count else sizes
        self._words: Words = np.ndarray((len(held) - 7,), "<u8", held, strides=(1,))

    def words(self, starts: npt.NDArray[np.int64], left: npt.NDArray[np.int64]) -> Words:
        """Return the words at some places, with zeros behind what is left of each text."""
        return self._words[starts] & _MASKS[np.minimum(left, 8)]

    def digests(self, rows: npt.NDArray[np.int64]) -> Words:
        """Return two words for each text."""
        ends = self.starts + self.sizes
        texts = (self._held[self.starts[row] : ends[row]].data for row in rows)
        read: Words = np.frombuffer(b"".join(map(xxhash.xxh3_128_digest, texts)), "<u8")
        return read.reshape(-1, 2)


def _with_texts(high: Words, low: Words, column: Array) -> tuple[Words, Words]:
    """Add each text's length and then its bytes, so that no two lists of texts are the same."""
    texts = _Texts(column)
    high, low = _with_words(high, low, texts.sizes.view(np.uint64))
    long = np.flatnonzero(texts.sizes > _LONG_BYTES)
    if len(long):
        for words in texts.digests(long).T:
            high[long], low[long] = _with_words(high[long], low[long], words)
    starts, left = texts.starts, np.where(texts.sizes > _LONG_BYTES, 0, texts.sizes)
    rows = np.arange(len(left))
    while len(rows):
        if left.min() > 0 and len(rows) == len(high):
            high, low = _with_words(high, low, texts.words(starts, left))
        else:
            there = left > 0
            rows, starts, left = rows[there], starts[there], left[there]
            read = texts.words(starts, left)
            high[rows], low[rows] = _with_words(high[rows], low[rows], read)
        starts, left = starts + 8, left - 8
    return high, low
