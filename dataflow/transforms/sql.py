"""Hands each batch to a process that runs a SELECT over it, and passes on what it answers."""

from __future__ import annotations

import pyarrow as pa

from dataflow.connect import Context, Operator, Output, Rejected, TransformStep, Via
from dataflow.connect.operator import NOTHING
from dataflow.connect.transform import MAIN
from dataflow.transforms.binding import count_up, refused, visible
from dataflow.transforms.sql_link import Kind, Task
from dataflow.transforms.sql_process import SqlProcess
from dataflow.transforms.sql_spec import SqlOptions


def open_sql(_: TransformStep, options: SqlOptions, __: Context) -> Sql:
    """Return the SELECT of one step."""
    return Sql(options)


class Sql(Operator):
    """Makes rows anew, and so is an operator; it keeps nothing between batches."""

    def __init__(self, options: SqlOptions) -> None:
        self._options = options
        self._process = SqlProcess(
            Task(
                select=options.select,
                memory_limit=options.memory_limit,
                time_s_max=options.time_limit.total_seconds(),
            )
        )

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:  # noqa: ARG002 - of any split
        """Pass on the answer; where these rows have none, refuse all of them.

        Raises:
            Rejected: the SELECT does not go with these columns, or takes too much memory.
            Unavailable: it takes too long, or its process has ended.
        """
        if batch.num_rows == 0:
            return NOTHING
        rows = batch.select(visible(batch.schema).names)
        kind, said = self._process.ask(Kind.ROWS, _stream(rows))
        match kind:
            case Kind.ROWS:
                return _answered(batch.num_rows, _batch(said))
            case Kind.FAULT:
                return Output(rejected=_all_refused(batch, said.decode()))
            case Kind.MEMORY:
                message = f"it takes more than memoryLimit, {self._options.memory_limit}"
                raise Rejected(f"{message}: {said.decode()}", field="options.select")
            case _:
                raise Rejected(said.decode(), field="options.select")

    def close(self) -> None:
        """End the process."""
        self._process.close()


def _answered(taken: int, answer: pa.RecordBatch) -> Output:
    """Count rows as they come out: which of them came from which, only the SELECT knows."""
    more = answer.num_rows - taken
    return Output(batches={MAIN: answer}, filtered=max(0, -more), produced=max(0, more))


def _all_refused(batch: pa.RecordBatch, message: str) -> pa.RecordBatch:
    said = pa.repeat(pa.scalar(message), batch.num_rows)
    return refused(batch, count_up(batch.num_rows), said)


def _stream(batch: pa.RecordBatch) -> memoryview:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return memoryview(sink.getvalue())


def _batch(stream: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
        table = reader.read_all().combine_chunks()
    whole = table.to_batches()
    return whole[0] if whole else pa.RecordBatch.from_pylist([], schema=table.schema)
