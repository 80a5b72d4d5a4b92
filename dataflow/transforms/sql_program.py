"""The process that runs a SELECT: DuckDB, shut off from everything but its memory and a pipe.

DuckDB's own settings keep it from files, extensions and the network, and bound most of its memory.
The system holds the rest: a process with these limits opens no file and no socket, begins no
process, gets no more memory, and is ended by its alarm whatever it is doing. A constant such as
``repeat('x', 1000000000)`` is computed outside of DuckDB's accounts, and answers no interruption.
"""

from __future__ import annotations

import json
import resource
import select
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import IO

import duckdb
import pyarrow as pa

from dataflow.connect import Rejected
from dataflow.connect.transform import HIDDEN
from dataflow.connect.types import Kind as TypeKind
from dataflow.connect.types import from_arrow, parse_type, to_arrow
from dataflow.transforms.sql_link import Kind, Question, Task, receive, send

SETTINGS = {
    "allow_community_extensions": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    "max_temp_directory_size": "0B",
    "python_enable_replacements": "false",  # names in a SELECT are no variables of this program
    "threads": "1",  # the process may begin no other; a batch is seldom more than one takes
}

ROOM = 2
"""Times the memory that DuckDB counts: for batches on their way in and out, and its constants."""

_NO_MEMORY = (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError)


class Wrong(Exception):
    """The SELECT cannot be carried out, whatever the rows."""


class Answering:
    """DuckDB with nothing in it."""

    def __init__(self, memory_limit: int) -> None:
        self._connection = duckdb.connect(
            ":memory:", config={**SETTINGS, "memory_limit": f"{memory_limit}B"}
        )
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET lock_configuration = true")

    def check(self, sql: str) -> None:
        """Refuse what is not one SELECT.

        Raises:
            Wrong: it cannot be read, or is something else.
        """
        try:
            statements = self._connection.extract_statements(sql)
        except duckdb.Error as error:
            raise Wrong(str(error)) from error
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            raise Wrong("write one SELECT, and nothing else")

    def answer(self, sql: str, rows: pa.Table) -> pa.Table:
        """Return what a SELECT makes of rows.

        Raises:
            Wrong: it does not go with these columns.
            duckdb.Error: it does not go with these rows.
        """
        self.check(sql)
        _same_but_for_case(rows.schema)
        try:
            self._connection.register("input", rows)
            relation = self._connection.sql(sql)
        except _NO_MEMORY:
            raise
        except duckdb.Error as error:
            raise Wrong(str(error)) from error
        try:
            answer: pa.Table = relation.to_arrow_table()
        except (duckdb.IOException, duckdb.PermissionException) as error:
            raise Wrong(str(error)) from error
        _can_go_out(answer.schema)
        return answer


def _same_but_for_case(schema: pa.Schema) -> None:
    """Refuse columns that SQL takes for one."""
    often = Counter(name.lower() for name in schema.names)
    twice = [name for name in schema.names if often[name.lower()] > 1]
    if twice:
        raise Wrong(
            f"SQL takes the columns {', '.join(twice)} for one; rename them in a map before"
        )


def _can_go_out(schema: pa.Schema) -> None:
    for name, often in Counter(schema.names).items():
        if often > 1:
            raise Wrong(f"{often} columns are named {name!r}; name them apart by AS")
        if name in HIDDEN or not name:
            raise Wrong(f"{name!r} is no name for a column; choose another by AS")
    for field in schema:
        is_map = isinstance(field.type, pa.MapType)
        if from_arrow(field.type).kind is TypeKind.OPAQUE and not is_map:
            raise Wrong(f"no other step knows the type {field.type} of {field.name!r}; CAST it")


def planned(answering: Answering, payload: bytes) -> bytes:
    """Return the columns that go out, by their types; null where those that come in are."""
    question = Question.model_validate_json(payload)
    if question.columns is None:
        answering.check(question.select)
        return b"null"
    fields = [pa.field(name, to_arrow(parse_type(of))) for name, of in question.columns.items()]
    answer = answering.answer(question.select, pa.schema(fields).empty_table())
    return json.dumps({field.name: str(from_arrow(field.type)) for field in answer.schema}).encode()


def selected(answering: Answering, sql: str, payload: bytes) -> memoryview:
    """Return the answer to a batch."""
    with pa.ipc.open_stream(pa.py_buffer(payload)) as reader:
        rows = reader.read_all()
    return stream_of(answering.answer(sql, rows).combine_chunks())


def stream_of(table: pa.Table) -> memoryview:
    """Return a table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def reply(
    answering: Answering, sql: str, kind: Kind, payload: bytes
) -> tuple[Kind, bytes | memoryview]:
    """Return what to say to a message."""
    try:
        if kind is Kind.PLAN:
            return Kind.PLANNED, planned(answering, payload)
        return Kind.ROWS, selected(answering, sql, payload)
    except (Wrong, Rejected) as error:
        return Kind.WRONG, str(error).encode()
    except _NO_MEMORY as error:
        return Kind.MEMORY, str(error).encode()
    except duckdb.Error as error:
        return Kind.FAULT, str(error).encode()


def confine(task: Task) -> None:
    """Give up what a SELECT needs not, for good. What is imported later than this is not found."""
    status = Path("/proc/self/statm")
    if status.exists():
        taken = int(status.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        most = taken + ROOM * task.memory_limit
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for limit, value in ((resource.RLIMIT_NOFILE, 3), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (value, value))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def serve(task: Task, asked: IO[bytes], told: IO[bytes]) -> None:
    """Answer until the step has gone or asks no more; an alarm that rings ends the process."""
    answering = Answering(task.memory_limit)
    _try_everything(answering)
    confine(task)
    while True:
        ready, _, _ = select.select([asked], [], [], task.idle_s_max or None)
        message = receive(asked) if ready else None
        if message is None:
            return
        signal.setitimer(signal.ITIMER_REAL, task.time_s_max)
        kind, payload = reply(answering, task.select, *message)
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(told, kind, payload)


def _try_everything(answering: Answering) -> None:
    """Load all that is loaded when it is first needed: afterwards no file can be opened."""
    sql = "SELECT a, b, CAST(b AS int) AS c FROM input ORDER BY a"
    for text in ("1", "no number"):
        table = pa.table({"a": [1], "b": [text]})
        reply(answering, sql, Kind.ROWS, bytes(stream_of(table)))
    for of in ("timestamptz", "no type"):
        question = Question(select=sql, columns={"a": of, "b": "decimal(10, 2)"})
        reply(answering, "", Kind.PLAN, question.model_dump_json().encode())


def main() -> None:
    """Serve the step that began this process, on standard input and output."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    pa.set_memory_pool(pa.system_memory_pool())  # others reserve more addresses than they use
    task = Task.model_validate_json(sys.argv[1])
    serve(task, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
