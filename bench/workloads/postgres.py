"""A file into PostgreSQL, and changes of a table into Kafka: exactly once, a commit a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import asyncpg

from bench.data import orders
from bench.peers import environment
from bench.peers.environment import RUN_S_MAX, Taken
from bench.report import Row, compared, median
from bench.server import Place, Server, place
from bench.workloads.kafka import check_count
from bench.workloads.workload import Ask, Workload, completed
from dataflow.client import DataFlow
from deploy.stack.kafka import Kafka
from deploy.stack.postgres import USER, Postgres

COPY, DRAIN = "copy", "drain"

WARM_UP_ROWS = 1_000
"""Pass before the clock starts, as in the workloads over files."""

COLUMNS = (
    "id bigint, customer text, country text, state text, quantity bigint, price float8,"
    " reference text"
)
CHANGED = """
CREATE TABLE changed (LIKE columns, PRIMARY KEY (id));
CREATE PUBLICATION changed FOR TABLE changed;
CREATE PROCEDURE fill(count bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR low IN 0 .. count - 1 BY 1000 LOOP
        INSERT INTO changed
        SELECT n, 'Customer ' || n, 'DE', 'paid', n % 20, n % 2000 / 100.0, n * 7919
        FROM generate_series(low, least(low + 999, count - 1)) AS n;
        COMMIT;
    END LOOP;
END $$;
"""
"""Transactions of 1,000 rows."""

Work = Callable[[str], Taken]
"""What a system does, given a name that no other run has."""


class Stage(NamedTuple):
    """Where a workload happens."""

    here: Place
    database: str
    rows: int


def run_file(ask: Ask) -> list[Row]:
    """Measure the platform and ``COPY`` in turn, with the same file."""
    source = str(orders(ask.rows, "csv"))
    with _stage(ask) as stage:

        def ours(name: str) -> Taken:
            warm_up = _file_pipeline(f"{name}-warm-up", str(orders(WARM_UP_ROWS, "csv")), stage)
            return _ours(stage.here, [warm_up, _file_pipeline(name, source, stage)])

        def copy(name: str) -> Taken:
            asyncio.run(_execute(stage.database, f'CREATE TABLE "{name}" ({COLUMNS})'))
            return environment.run(COPY, stage.database, name, source)

        def check(name: str) -> None:
            found = asyncio.run(_execute(stage.database, f'SELECT count(*) FROM "{name}"'))  # noqa: S608 - our name
            if found != ask.rows:
                raise RuntimeError(f"{name} holds {found} rows, not {ask.rows}")

        return _measured(FILE, ask, {"dataflow": ours, COPY: copy}, check)


def run_changes(ask: Ask) -> list[Row]:
    """Measure the platform and a reader that decodes nothing, with the same log."""
    names = [f"{system}_{number}" for system in ("dataflow", DRAIN) for number in range(ask.runs)]
    with _stage(ask) as stage, Kafka(stage.here.folder / "kafka") as kafka:
        asyncio.run(_fill(stage, [*names, "warm_up"]))

        def ours(name: str) -> Taken:
            return _ours(stage.here, [_changes_pipeline(name, stage, kafka.address)])

        def drain(name: str) -> Taken:
            return environment.run(DRAIN, stage.database, name, "changed", f"{ask.rows}")

        def check(name: str) -> None:
            if name.startswith("dataflow"):
                check_count(kafka.address, name, ask.rows)

        return _measured(CHANGES, ask, {"dataflow": ours, DRAIN: drain}, check)


def _measured(
    workload: Workload, ask: Ask, systems: Mapping[str, Work], check: Callable[[str], None]
) -> list[Row]:
    chosen = {name: work for name, work in systems.items() if name in {"dataflow", *ask.peers}}
    rows: dict[str, list[Row]] = {name: [] for name in chosen}
    for number in range(ask.runs):
        for system, work in chosen.items():
            name = f"{system}_{number}"
            taken = work(name)
            check(name)
            rate = ask.rows / taken.seconds
            found = (taken.seconds, rate, taken.cpu_s, taken.peak_rss_mib)
            rows[system].append(Row(workload.name, system, ask.rows, *found))
            ask.tell(f"{system}: {rate:,.0f} rows/s")
    ours, *peers = map(median, rows.values())
    return compared(ours, peers)


@contextmanager
def _stage(ask: Ask) -> Iterator[Stage]:
    with place() as here, Postgres(here.folder / "postgres") as server:
        yield Stage(here, f"postgresql://{USER}@{server.address}/postgres", ask.rows)


async def _execute(database: str, *statements: str) -> Any:  # noqa: ANN401 - a cell
    """Execute statements; return the one value of the last one's rows."""
    connection = await asyncpg.connect(database, timeout=RUN_S_MAX)
    try:
        *first, last = statements
        for statement in first:
            await connection.execute(statement, timeout=RUN_S_MAX)
        return await connection.fetchval(last, timeout=RUN_S_MAX)
    finally:
        await connection.close()


async def _fill(stage: Stage, slots: list[str]) -> None:
    """Make a table and slots, then the changes that all of them show."""
    made = [f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')" for slot in slots]
    columns = f"CREATE TABLE columns ({COLUMNS})"
    await _execute(stage.database, columns, CHANGED, *made, f"CALL fill({stage.rows})")


def _file_pipeline(name: str, source: str, stage: Stage) -> dict[str, Any]:
    options = {"table": name.replace("-", "_"), "create": True}
    return {
        "pipelineId": name.replace("_", "-"),
        "name": "Orders into a table",
        "source": {"sourceType": "file", "connectionString": source},
        "sink": {
            "sinkType": "postgres",
            "connectionString": stage.database,
            "options": options,
        },
        "options": {"checkpointInterval": "1s"},
    }


def _changes_pipeline(slot: str, stage: Stage, brokers: str) -> dict[str, Any]:
    own = {"slot": slot, "createSlot": False, "publication": "changed", "snapshot": False}
    return {
        "pipelineId": slot.replace("_", "-"),
        "name": "Changes of a table",
        "source": {
            "sourceType": "postgres",
            "connectionString": stage.database,
            "options": {"table": "changed", "stopAtEnd": True, **own},
        },
        "sink": {
            "sinkType": "kafka",
            "connectionString": brokers,
            "options": {"topic": slot, "createTopic": {"partitions": 4}},
        },
        "options": {"checkpointInterval": "1s"},
    }


def _ours(here: Place, pipelines: list[dict[str, Any]]) -> Taken:
    """Let a server run pipelines one after the other; the last one is measured."""
    with here.server() as (server, _):
        taken = [asyncio.run(_work(server, pipeline)) for pipeline in pipelines]
        return Taken(*taken[-1], server.peak_rss_mib())


async def _work(server: Server, pipeline: dict[str, Any]) -> tuple[float, float]:
    """Return seconds from start to completed, and the server's CPU time."""
    name = pipeline["pipelineId"]
    async with DataFlow(server.grpc) as df:
        await df.create(pipeline)
        created = (await df.get(name)).sequence
        cpu_s, started = server.cpu_s(), time.perf_counter()
        await df.start(name)
        await completed(df, name, created)
        return time.perf_counter() - started, server.cpu_s() - cpu_s


FILE = Workload(
    "file_to_postgres",
    "CSV into a table that is created, exactly once, a transaction a second",
    3_000_000,
    run_file,
    (COPY,),
)
CHANGES = Workload(
    "postgres_cdc_to_kafka",
    "a table's insertions from the log to Kafka, exactly once, a transaction a second",
    1_000_000,
    run_changes,
    (DRAIN,),
)
