"""The ``sql`` transform as people configure it. Imports no Arrow and no DuckDB."""

from __future__ import annotations

import atexit
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from pydantic import Field

from dataflow.connect import (
    Duration,
    Options,
    Problem,
    TransformSpec,
    TransformStep,
    Unavailable,
)
from dataflow.connect.expressions import typed
from dataflow.transforms.sql_link import Kind, Question, Task
from dataflow.transforms.sql_process import SqlProcess

PLAN_S_MAX = 2.0
PLAN_BYTES_MAX = 128 << 20
"""Of planning over no rows, which takes a hundredth of either."""

PLAN_WAIT_S_MAX = 3.0
"""A node that waits renews no lease, which is 10 s long. Then the first batch checks the SELECT."""

PLAN_IDLE_S_MAX = 60.0
"""After which the process that plans ends; to begin it takes half a second."""

PLANS_KEPT = 256
"""A pipeline is checked more than once on its way from a form to its start."""

SELECT_LENGTH_MAX = 100_000


class SqlOptions(Options):
    """A SELECT over each batch."""

    select: str = Field(
        min_length=1,
        max_length=SELECT_LENGTH_MAX,
        description="One SELECT in DuckDB's SQL over the table input, which holds one batch, as in"
        " SELECT *, price * 1.19 AS gross FROM input. An aggregate is one over a batch, not over"
        " the pipeline.",
    )
    time_limit: Duration = Field(
        default=timedelta(seconds=30),
        ge=timedelta(milliseconds=10),
        le=timedelta(hours=1),
        description="The longest that one batch may take.",
    )
    memory_limit: int = Field(
        default=512 << 20,
        ge=64 << 20,
        le=1 << 40,
        description="The memory that the SELECT may take, in a process of its own.",
    )


Columns = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known without rows: the columns that go out, or what is wrong."""

    columns: Columns | None = None
    wrong: str = ""


UNKNOWN = Plan()


class Planner:
    """One process plans for all, in a thread of its own, for whoever asks has others to answer."""

    def __init__(self) -> None:
        task = Task(memory_limit=PLAN_BYTES_MAX, time_s_max=PLAN_S_MAX, idle_s_max=PLAN_IDLE_S_MAX)
        self._process = SqlProcess(task)
        self._pool = ThreadPoolExecutor(1, "sql-planner")
        self._remembered = lru_cache(PLANS_KEPT)(self._planned)

    def plan(self, select: str, columns: Columns | None) -> Plan:
        """Plan over a table without rows; without columns only see whether it is one SELECT."""
        given = None if columns is None else tuple(columns.items())
        try:
            return self._pool.submit(self._remembered, select, given).result(PLAN_WAIT_S_MAX)
        except TimeoutError:
            return UNKNOWN
        except Unavailable as error:
            return Plan(wrong=error.message)

    def _planned(self, select: str, columns: tuple[tuple[str, str], ...] | None) -> Plan:
        given = None if columns is None else dict(columns)
        question = Question(select=select, columns=given).model_dump_json().encode()
        try:
            kind, said = self._process.ask(Kind.PLAN, question)
        except Unavailable as error:
            if error.code != "WORKER_LOST":
                raise
            # it was about to end, because it was idle
            kind, said = self._process.ask(Kind.PLAN, question)
        return Plan(json.loads(said)) if kind is Kind.PLANNED else Plan(wrong=said.decode())

    def close(self) -> None:
        """End the process, when it has answered."""
        self._pool.shutdown(cancel_futures=True)
        self._process.close()


PLANNER = Planner()
atexit.register(PLANNER.close)


def plan(options: SqlOptions, columns: Columns | None) -> Plan:
    """Return what is known of a SELECT when a pipeline is created."""
    return PLANNER.plan(options.select, columns if typed(columns) is not None else None)


def _check(_: TransformStep, options: SqlOptions, columns: Columns | None) -> Sequence[Problem]:
    wrong = plan(options, columns).wrong
    return [Problem("options.select", wrong)] if wrong else []


def _schema(options: SqlOptions, columns: Columns) -> Columns | None:
    return plan(options, columns).columns


SPEC = TransformSpec(
    name="sql",
    summary="A SELECT over each batch.",
    options=SqlOptions,
    open="dataflow.transforms.sql:open_sql",
    check=_check,
    schema=_schema,
)
