"""A batch through the user's function: rows keep their numbers, and a result has its columns.

Whatever the function does wrong with a batch refuses all its rows, which go as ``onError`` says;
where it cannot be loaded the pipeline fails. A process that was ended is begun anew with the next
batch, one that has only raised goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import Context, Output, Rejected, Transform, TransformStep, Unavailable
from dataflow.connect.expressions import listing
from dataflow.connect.transform import ERROR, MAIN, ORDINAL
from dataflow.transforms.binding import Array, count_up, visible
from dataflow.transforms.python.columns import Columns
from dataflow.transforms.python.process import Fault, Process
from dataflow.transforms.python.said import Said
from dataflow.transforms.python.secrets import Secrets
from dataflow.transforms.python.spawning import Program
from dataflow.transforms.python.spec import PythonOptions, going_out

REASON_MAX = 400
"""Characters of the reason that each row of a batch is given; the log has the calls, too."""


def open_python(_: TransformStep, options: PythonOptions, context: Context) -> Python:
    """Return the step; its process begins with the first batch.

    Raises:
        Rejected: this node runs nobody's functions, or keeps a folder of ``pythonPath`` to itself.
    """
    if not context.python_allowed:
        raise Rejected(
            "this node runs no functions of others; whoever operates it can allow them"
            " (DATAFLOW_PYTHON=allowed)",
            code="PERMISSION",
            field="options.function",
        )
    return Python(options, context, [_folder(text, context) for text in options.python_path])


def _folder(text: str, context: Context) -> str:
    try:
        path = context.path(text)
    except Rejected as error:
        raise Rejected(error.message, code=error.code, field="options.pythonPath") from error
    if not path.is_dir():
        raise Rejected(f"{text!r} is no folder on this node", field="options.pythonPath")
    return str(path)


class Python(Transform):
    """One step; ``apply`` is called by one thread at a time, ``close`` by any."""

    def __init__(self, options: PythonOptions, context: Context, path: list[str]) -> None:
        self._options = options
        self._context = context
        self._path = path
        self._secrets = Secrets(context.secret)
        self._said = Said(context, self._secrets.hide)
        self._columns = Columns(options.returned)
        self._seen: tuple[pa.Schema, list[str]] | None = None
        self._process: Process | None = None
        self._is_closed = False
        self._at_work = Lock()

    def apply(self, batch: pa.RecordBatch) -> Output:
        """Pass on what the function returns, or refuse the whole batch.

        Raises:
            Rejected: the function cannot be loaded.
            Unavailable: its process cannot be begun, has ended before the function was loaded, or
                the step has been closed.
        """
        with self._at_work:
            process = self._running()
            try:
                made = process.call(self._shown(batch), self._options.time_limit)
                return _accounted(made, batch, self._options, self._columns)
            except Fault as fault:
                if self._is_closed:
                    raise Unavailable("the step has been closed") from fault
                return self._refused(batch, fault)

    def close(self) -> None:
        """Kill the process with all that it has begun; a batch under way gets an error.

        What it holds is let go AFTER whoever waits for the process has heard of its end.
        """
        self._is_closed = True
        if self._process is not None:
            self._process.end()
        with self._at_work:
            if self._process is not None:
                self._process.close()

    def _running(self) -> Process:
        """Return the process with the function in it; begins it where there is none."""
        process = self._process
        if process is not None and not process.has_ended:
            return process
        if process is not None:
            process.close()
        if self._is_closed:
            raise Unavailable("the step has been closed")
        options = self._options
        self._process = Process(
            Program(
                options.function,
                options.frame,
                self._secrets.args(options.args),
                self._path,
                self._secrets.environment(options.environment),
                options.memory_limit,
            ),
            self._context,
            self._said,
        )
        if self._is_closed:  # meanwhile, and it found nothing to end
            self._process.end()
        self._load(self._process)
        return self._process

    def _load(self, process: Process) -> None:
        try:
            process.load(self._options.import_limit)
        except Rejected as error:
            cause = error.__cause__
            self._tell(cause.lines if isinstance(cause, Fault) else ())
            raise Rejected(
                self._secrets.hide(error.message), code=error.code, field=error.field
            ) from None

    def _shown(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return what the function is given of a batch."""
        number = self._options.row_number
        if self._seen is None or not self._seen[0].equals(batch.schema):
            names = visible(batch.schema).names
            given = list(self._options.columns or names)
            if missing := [name for name in given if names.count(name) != 1]:
                raise Rejected(
                    f"there is not one column {missing[0]!r}, but {listing(names)}",
                    field="options.columns",
                )
            if number in names:
                raise Rejected(f"there is a column {number!r} already", field="options.rowNumber")
            self._seen = batch.schema, given
        columns = batch.select(self._seen[1])
        return columns if number is None else columns.append_column(number, count_up(len(columns)))

    def _refused(self, batch: pa.RecordBatch, fault: Fault) -> Output:
        self._tell(fault.lines)
        reason = self._secrets.hide(fault.reason)[:REASON_MAX]
        reasons = pa.repeat(pa.scalar(reason, pa.large_string()), batch.num_rows)
        none = self._columns.empty
        given = self._options.columns
        out = {} if none is None else {MAIN: _beside(none, batch.slice(0, 0), given, None)}
        return Output(out, rejected=batch.append_column(ERROR, reasons))

    def _tell(self, lines: Sequence[str]) -> None:
        for line in "".join(lines).splitlines():
            self._said.tell(line)


def _accounted(
    made: pa.RecordBatch, batch: pa.RecordBatch, options: PythonOptions, columns: Columns
) -> Output:
    """Give each row of a result the number of the row that it comes from.

    By the column that tells; by their place where there are as many rows; else all have the number
    of the first row that went in, for nothing tells them apart.
    """
    before, after, number = batch.num_rows, made.num_rows, options.row_number
    filtered, produced = max(0, before - after), max(0, after - before)
    rows: Array | None = None
    if number is not None and number in made.schema.names:
        rows = _rows(made.column(number), before)
        made = made.drop_columns([number])
        used = len(rows.unique())
        filtered, produced = before - used, after - used
    elif after != before:
        if options.columns is not None:
            raise Fault(
                f"it was given {before} rows and returned {after}: give it rowNumber, by which it"
                " can tell to which rows the other columns belong"
            )
        if not before:
            raise Rejected("it made rows out of none", field="options.function")
        rows = pa.repeat(pa.scalar(0, pa.int64()), after)
    out = _beside(columns.of(made), batch, options.columns, rows)
    return Output(batches={MAIN: out}, filtered=filtered, produced=produced)


def _beside(
    made: pa.RecordBatch, batch: pa.RecordBatch, given: Sequence[str] | None, rows: Array | None
) -> pa.RecordBatch:
    """Put a result beside the columns that the function was not given, and the numbers of rows."""
    come_in = visible(batch.schema).names if given is not None else []
    names = [*going_out(come_in, given, made.schema.names), ORDINAL]
    arrays: list[Array] = []
    for name in names:
        if name in made.schema.names:
            arrays.append(made.column(name))
        else:
            column: Array = batch.column(name)
            arrays.append(column if rows is None else column.take(rows))
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _rows(column: Array, rows: int) -> Array:
    """Return the numbers of the rows that rows come from.

    Raises:
        Fault: one is of no row.
    """
    if not pa.types.is_integer(column.type) or column.null_count:
        raise Fault("its column rowNumber holds what is no number of a row")
    if not len(column):
        return column
    least, most = pc.min(column).as_py(), pc.max(column).as_py()
    if least < 0 or most >= rows:
        raise Fault(f"its column rowNumber names the rows {least} to {most} of {rows}")
    return column
