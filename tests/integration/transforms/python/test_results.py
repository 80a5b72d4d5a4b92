"""What a function returns: its rows keep their numbers, its columns are held to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Rejected
from dataflow.connect.transform import MAIN, ORDINAL
from dataflow.transforms.python.step import Python
from tests.integration.transforms.python.rig import batch, made, reason, step


@pytest.fixture(scope="module")
def wrong() -> Iterator[Python]:
    """Return a step whose function returns what its first row says."""
    with step("wrong", schema={"price": "float64"}) as python:
        yield python


@pytest.mark.parametrize("function", ["doubled", "Prices.doubled"])
def test_a_function_adds_a_column(function: str) -> None:
    """It gets the columns that people see, and the rows keep their numbers."""
    with step(function) as python:
        python.apply(batch(1.0))
        assert made(python.apply(batch(2.0, 3.0, first=7))) == {
            "item": ["item", "item"],
            "price": [2.0, 3.0],
            "twice": [4.0, 6.0],
            ORDINAL: [7, 8],
        }


def test_a_table_is_taken_as_one_batch() -> None:
    """Arrow's own functions return tables as often as batches."""
    with step("as_table") as python:
        assert python.apply(batch(1.0, 2.0, 3.0)).batches[MAIN] == batch(1.0, 2.0, 3.0)
        assert python.apply(batch()).batches[MAIN] == batch()


def test_polars_gets_and_returns_a_frame_and_texts_stay_what_they_were() -> None:
    """A column's type does not depend on the library that it went through."""
    with step("in_polars", frame="polars", args={"factor": 10.0, "unit": "EUR"}) as python:
        output = python.apply(batch(1.5, 2.0))
        assert made(output)["scaled"] == [15.0, 20.0]
        assert made(output)["unit"] == ["EUR", "EUR"]
        schema = output.batches[MAIN].schema
        assert schema.field("item").type == batch().schema.field("item").type
        assert schema.field("unit").type == batch().schema.field("item").type


def test_fewer_rows_are_filtered_and_have_the_number_of_the_first() -> None:
    """Nothing tells which are left; they are accounted for all the same."""
    with step("dear", frame="polars", args={"least": 2.0}) as python:
        output = python.apply(batch(1.0, 2.0, 3.0, first=5))
        assert (made(output)[ORDINAL], output.filtered, output.produced) == ([5, 5], 1, 0)


def test_a_row_number_tells_which_rows_are_left() -> None:
    """With it a function that drops rows keeps the numbers of the others."""
    options: dict[str, Any] = {"frame": "polars", "args": {"least": 2.0}, "rowNumber": "row"}
    with step("dear", **options) as python:
        output = python.apply(batch(1.0, 2.0, 3.0, first=5))
        assert (made(output)[ORDINAL], output.filtered, output.produced) == ([6, 7], 1, 0)
        assert "row" not in made(output)


def test_a_row_number_tells_where_further_rows_come_from() -> None:
    """In whatever order they are."""
    with step("twice", rowNumber="row") as python:
        output = python.apply(batch(1.0, 2.0, first=5))
        assert (made(output)[ORDINAL], made(output)["price"]) == ([6, 5, 6, 5], [2, 1, 2, 1])
        assert (output.filtered, output.produced) == (0, 2)
    with step("from_nowhere", rowNumber="row") as python:
        assert "names the rows 9 to 9 of 2" in reason(python.apply(batch(1.0, 2.0)), 2)


def test_more_rows_are_produced() -> None:
    """Without a number of a row they have that of the first."""
    with step("twice") as python:
        output = python.apply(batch(1.0, 2.0, first=5))
        assert (made(output)[ORDINAL], output.filtered, output.produced) == ([5] * 4, 0, 2)


def test_rows_that_a_function_keeps_do_not_change_under_it() -> None:
    """Shared memory is written again and again, but not where somebody still reads."""
    with step("remembering") as python:
        for number in range(1, 6):
            assert made(python.apply(batch(float(number))))["first"] == [1.0]


def test_a_batch_that_outgrows_the_memory_gets_more() -> None:
    """Both ways; smaller ones after it are read right."""
    with step("doubled") as python:
        for rows in (1, 300_000, 2):
            columns = made(python.apply(batch(*[0.5] * rows)))
            assert columns["twice"] == [1.0] * rows


def test_columns_that_a_function_is_not_given_go_out_beside_its_rows() -> None:
    """Most need few; the others need not be carried to another process and back."""
    with step("names_of", columns=["price"]) as python:
        columns = made(python.apply(batch(1.0, 2.0, first=5)))
        assert columns == {
            "item": ["item", "item"],
            "price": [-1.0, -2.0],
            "names": ["price", "price"],
            ORDINAL: [5, 6],
        }
        assert list(columns) == ["item", "price", "names", ORDINAL]


def test_they_go_with_the_row_that_they_belong_to() -> None:
    """Without a number of the row nothing tells which that is."""
    given = pa.RecordBatch.from_arrays(
        [pa.array(["a", "b"]), pa.array([1.0, 2.0]), pa.array([5, 6])],
        names=["item", "price", ORDINAL],
    )
    with step("twice", columns=["price"], rowNumber="row") as python:
        assert made(python.apply(given))["item"] == ["b", "a", "b", "a"]
        assert python.apply(given.slice(0, 0)).batches[MAIN].schema.names == given.schema.names
    with step("twice", columns=["price"]) as python:
        said = "it was given 2 rows and returned 4: give it rowNumber"
        assert reason(python.apply(given), 2).startswith(said)


def test_a_column_that_is_not_there_fails_the_pipeline() -> None:
    """No batch will have it."""
    with step("names_of", columns=["prise"]) as python, pytest.raises(Rejected, match="prise"):
        python.apply(batch(1.0))


def test_a_declared_schema_is_what_goes_out() -> None:
    """In its order; a column of which nothing is known is one of nulls."""
    with step("emptied", schema={"price": "float64"}) as python:
        assert "a column 'item'" in reason(python.apply(batch(1.0)), 1)
        assert made(python.apply(batch(-1.0, first=1))) == {"price": [None], ORDINAL: [1]}
    with step("doubled", schema={"twice": "float", "price": "double", "item": "text"}) as python:
        assert list(made(python.apply(batch(1.0)))) == ["twice", "price", "item", ORDINAL]


def test_another_batch_with_other_columns_is_refused() -> None:
    """Without a declared schema the first one says what the steps behind can count on."""
    with step("varying") as python:
        python.apply(batch(1.0))
        said = reason(python.apply(batch(-1.0)), 1)
        assert "no column 'item', 'price' as string, not float64" in said
        assert "declare schema" in said
        assert made(python.apply(batch(2.0)))["price"] == [2.0]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("nothing", "it returned NoneType, not an Arrow RecordBatch"),
        ("number", "it returned int"),
        ("lazy", "call collect() on it"),
        ("hidden", "'__ordinal': that name is the platform's own"),
        ("error", "'__error': that name is the platform's own"),
        ("twice", "two columns 'price'"),
        ("type", "'price' as string, not float64"),
        ("missing", "no column 'price', a column 'other'"),
        ("damaged", "a damaged batch"),
    ],
)
def test_what_is_no_such_batch_is_refused(wrong: Python, what: str, said: str) -> None:
    """A damaged one too: it would end the platform, not the function."""
    assert said in reason(wrong.apply(batch(1.0, 2.0, item=what)), 2)
