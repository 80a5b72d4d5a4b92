"""``sql`` passes the suite of operators; one process serves all of its instances here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest

from dataflow.connect import Operator
from dataflow.connect.testkit import OperatorSuite
from dataflow.connect.transform import ORDINAL
from dataflow.transforms.sql import Sql
from dataflow.transforms.sql_link import Kind
from dataflow.transforms.sql_process import SqlProcess
from dataflow.transforms.sql_spec import SqlOptions

OPTIONS = SqlOptions(select="SELECT CAST(a AS int) AS n, b, unnest(range(b)) AS i FROM input")


class _Lent(SqlProcess):
    """A process that its user cannot end, for it takes longer to begin than a test to run."""

    def __init__(self, process: SqlProcess) -> None:
        self._lent = process

    def ask(self, kind: Kind, *payload: bytes | memoryview) -> tuple[Kind, bytes]:
        return self._lent.ask(kind, *payload)

    def close(self) -> None:
        """Leave it to the next."""


class TestSql(OperatorSuite):
    """Rows that become several, none, and a batch that has no answer."""

    _process: SqlProcess

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _shared(cls) -> Iterator[None]:
        cls._process = Sql(OPTIONS)._process
        yield
        cls._process.close()

    def operator(self) -> Operator:
        made = Sql(OPTIONS)
        made._process = _Lent(self._process)
        return made

    def batches(self) -> Sequence[pa.RecordBatch]:
        return [
            pa.record_batch({"a": ["1", "2", None], "b": [1, 3, 0], ORDINAL: [0, 1, 2]}),
            pa.record_batch({"a": ["x", "5"], "b": [4, 5], ORDINAL: [3, 4]}),
            pa.record_batch({"a": ["7"], "b": [0], ORDINAL: [5]}),
        ]
