"""The index of keys beside a dict, over random batches of every type that a key may have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.transforms.hashing import Hashed, hashed
from dataflow.transforms.keys import KeyIndex

LONG = "x" * 127
TEXTS = ["", "a", "a\0", "ab", "12345678", "123456789", "\0", LONG, LONG + "y", LONG + "yz", None]
NUMBERS = [0, 1, -1, 2**31, 2**62, None]
COLUMNS: Sequence[tuple[pa.DataType, Sequence[Any]]] = [
    (pa.int64(), NUMBERS),
    (pa.uint8(), [0, 1, 255, None]),
    (pa.bool_(), [True, False, None]),
    (pa.float64(), [0.0, -0.0, math.nan, math.inf, 1.5, None]),
    (pa.float32(), [0.0, -0.0, math.nan, 1.5, None]),
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.string_view(), TEXTS),
    (pa.dictionary(pa.int8(), pa.string()), TEXTS),
    (pa.binary(2), [b"ab", b"a\0", None]),
    (pa.decimal128(30, 2), [Decimal("1.00"), Decimal("-1.00"), Decimal(10) ** 25, None]),
    (pa.timestamp("ms", "UTC"), [0, 1, -1, None]),
    (pa.date64(), [0, 86_400_000, None]),
]


def same(value: Any) -> Any:  # noqa: ANN401 - a key of any type
    """Return a value that a dict takes for equal where SQL's GROUP BY does."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    return value


@st.composite
def batches(draw: st.DrawFn) -> Sequence[pa.RecordBatch]:
    """Draw batches of one to three key columns, some of them slices of longer ones."""
    columns = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=3))
    found = []
    for _ in range(draw(st.integers(1, 4))):
        rows = draw(st.integers(0, 30))
        arrays = [
            pa.array(draw(st.lists(st.sampled_from(values), min_size=rows, max_size=rows)), of)
            for of, values in columns
        ]
        names = [f"k{at}" for at in range(len(arrays))]
        cut = draw(st.integers(0, rows))
        found.append(pa.RecordBatch.from_arrays(arrays, names=names).slice(cut))
    return found


@settings(max_examples=150, deadline=None)
@given(batches(), st.randoms(use_true_random=False))
def test_an_index_numbers_keys_as_a_dict_does(given: Sequence[pa.RecordBatch], random: Any) -> None:  # noqa: ANN401 - hypothesis names no type
    """In the order in which they come, found again, forgotten in bulk, and NULLs told apart."""
    index, twin = KeyIndex(), dict[tuple[Any, ...], int]()
    for batch in given:
        keys = [tuple(map(same, row.values())) for row in batch.to_pylist()]
        bits = hashed(batch, batch.schema.names)
        assert index.find(bits).tolist() == [twin.get(key, -1) for key in keys]
        assert index.add(bits).tolist() == [twin.setdefault(key, len(twin)) for key in keys]
        assert len(index) == len(twin)
        whole = [None not in key for key in keys]
        assert (bits.whole is None and all(whole)) or list(bits.whole) == whole  # type: ignore[arg-type]  # None was asked for
        stay = np.array([random.random() < 0.7 for _ in twin], bool)
        index.keep(stay)
        kept = [key for key, keep in zip(twin, stay, strict=True) if keep]
        twin = {key: number for number, key in enumerate(kept)}
        assert index.find(bits).tolist() == [twin.get(key, -1) for key in keys]


def test_many_keys_are_told_apart_and_found_through_every_doubling() -> None:
    """The table grows eight times and is probed past crowded places."""
    index = KeyIndex()
    numbers = np.random.default_rng(7).permutation(200_000)
    for part in np.split(numbers, 8):
        index.add(hashed(pa.record_batch({"k": np.repeat(part, 2)}), ["k"]))
    assert len(index) == len(numbers)
    slots = index.find(hashed(pa.record_batch({"k": numbers}), ["k"]))
    assert (slots == np.arange(len(numbers))).all()
    assert (index.find(hashed(pa.record_batch({"k": numbers + 10**9}), ["k"])) == -1).all()


def test_keys_that_share_half_of_their_bits_are_told_apart() -> None:
    """Sixty-four bits alone mix up two keys of ten million once in 370,000 pipelines."""
    one, two = (Hashed(np.zeros(1, np.uint64), np.full(1, n, np.uint64), None) for n in (1, 2))
    index = KeyIndex()
    assert [*index.add(one), *index.add(two), *index.find(one), *index.find(two)] == [0, 1, 0, 1]


def test_a_key_has_the_same_bits_in_every_release() -> None:
    """They are kept: other bits would let every key of a restored state pass again."""
    batch = pa.record_batch(
        {
            "n": pa.array([1, None, -(2**63)]),
            "s": ["a", "a text of more than eight bytes", LONG + LONG],
            "f": [0.5, math.nan, -0.0],
            "d": pa.array([Decimal("1.5"), None, Decimal(-7)], pa.decimal128(9, 1)),
        }
    )
    bits = hashed(batch, batch.schema.names)
    assert [f"{high:016x}{low:016x}" for high, low in zip(bits.high, bits.low, strict=True)] == [
        "394370d49c8e029a43bbc37a53568824",
        "8cf996256a11d078f5c9faa755c5e7fb",
        "0d3d444f8bbcd3f2922565c2740ffa86",
    ]
