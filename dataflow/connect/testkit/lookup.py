"""What a lookup promises: ``LookupSuite``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa

from dataflow.connect.lookup import Answer, Lookup, Wanted

WANTED = Wanted(["id"], {"name": "string", "price": "float64"})
"""What the suite asks for."""

KNOWN: Mapping[int, tuple[str, float | None]] = {
    1: ("one", 1.5),
    2: ("two", None),
    30: ("drei / ü", -0.25),
}
"""By ``id`` the ``name`` and ``price`` that a lookup under test has to know, and nothing else."""


class LookupSuite(ABC):
    """For a lookup that knows ``KNOWN`` and is opened with ``WANTED``."""

    @abstractmethod
    def lookup(self) -> Lookup:
        """Return a new instance."""

    def test_what_is_known_comes_under_the_number_of_its_key(self) -> None:
        """In whichever order the lookup answers: rows are told apart by that number alone."""
        with self._open() as lookup:
            for asked in ([30, 1], [2], [1, 2, 30]):
                found = _read(lookup.find(_keys(asked)))
                assert found == {number: KNOWN[key] for number, key in enumerate(asked)}

    def test_a_key_that_is_not_known_is_not_named(self) -> None:
        """It is no error either: whoever asks says what becomes of it."""
        with self._open() as lookup:
            answer = lookup.find(_keys([7, 2, 8]))
            assert _read(answer) == {1: KNOWN[2]}
            assert answer.errors == {}
            assert _read(lookup.find(_keys([7]))) == {}

    def test_no_keys_bring_no_rows_but_all_columns(self) -> None:
        """Columns are there whatever is found."""
        with self._open() as lookup:
            rows = lookup.find(_keys([])).rows
            assert (rows.num_rows, rows.schema.names) == (0, ["name", "price"])

    @contextmanager
    def _open(self) -> Iterator[Lookup]:
        lookup = self.lookup()
        try:
            yield lookup
        finally:
            lookup.close()


def _keys(ids: list[int]) -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array(ids, pa.int64())})


def _read(answer: Answer) -> dict[int, tuple[str, float | None]]:
    found: dict[int, tuple[str, float | None]] = {}
    for number, row in zip(answer.of.to_numpy().tolist(), answer.rows.to_pylist(), strict=True):
        price = row["price"]
        found[number] = row["name"], None if price is None else float(price)
    assert len(found) == answer.rows.num_rows
    return found
