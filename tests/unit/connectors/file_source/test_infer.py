"""Types of what nobody declared."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dataflow.connectors.file.source_infer import csv_types, csv_width
from dataflow.connectors.file.source_options import FileSourceOptions
from dataflow.connectors.formats.json_infer import json_types

OPTIONS = FileSourceOptions(null_values=("NA", ""))
TYPES = [
    (["1", "2"], pa.int64()),
    (["1", "2.5"], pa.float64()),
    (["1", "x"], pa.string()),
    (["true", "false"], pa.bool_()),
    (["2024-01-02", "NA"], pa.date32()),
    (["2024-01-02T03:04:05", "2024-01-02T03:04:05.123456"], pa.timestamp("us")),
    (["2024-01-02T03:04:05.123456789"], pa.timestamp("ns")),
    (["2024-01-02T03:04:05Z"], pa.timestamp("us", "UTC")),
    (["01:02:03"], pa.string()),
    (["NA", ""], pa.string()),
]


@pytest.mark.parametrize(("cells", "of"), TYPES)
def test_csv_types_are_the_narrowest_that_fit(cells: list[str], of: pa.DataType) -> None:
    """Declared types win; these are for a first look, and then they are pinned."""
    data = "".join(f"k,{cell}\n" for cell in cells).encode()
    assert csv_types(data, ["k", "v"], ["v"], OPTIONS)["v"] == of


@pytest.mark.parametrize(
    ("values", "of"),
    [
        (["1", "null"], pa.int64()),
        (["1", "2.5"], pa.float64()),
        (["1", '"x"'], pa.string()),
        (["null"], pa.string()),
        (['"2024-01-02"'], pa.date32()),
        (['"2024-01-02"', '"soon"'], pa.string()),
        (['"2024-01-02T03:04:05.5"'], pa.timestamp("us")),
        (['"2024-01-02T03:04:05Z"'], pa.timestamp("us", "UTC")),
        (["[1, null]"], pa.list_(pa.int64())),
        (['{"x": null}'], pa.struct([("x", pa.string())])),
    ],
)
def test_json_types_are_the_narrowest_that_fit(values: list[str], of: pa.DataType) -> None:
    """As for csv; what contradicts itself is a string, and the record in the way is refused."""
    data = "".join(f'{{"v":{value}}}\n' for value in values).encode()
    assert json_types(data, {})["v"] == of


def test_a_malformed_record_does_not_spoil_inference() -> None:
    """It is refused when it is read; types come from the others."""
    data = b'{"t":"2024-01-02","n":1}\nnull\n{"t":\n{"n":2.5,"late":true}\n'
    found = json_types(data, {"n": pa.int64()})
    assert found == {"t": pa.date32(), "late": pa.bool_()}
    ragged = csv_types(b"1,x\n2\n3,y,z\n\xff,b\n", ["a", "b"], ["a", "b"], OPTIONS)
    assert ragged["b"] == pa.string()


def test_the_width_of_csv_is_that_of_its_first_record() -> None:
    """Columns without a header and without names are numbered."""
    assert csv_width(b'\n\n"a,b",c\nd\n', OPTIONS) == 2
    assert csv_width(b"\n", OPTIONS) == 0
