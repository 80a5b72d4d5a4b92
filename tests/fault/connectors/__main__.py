"""Long histories: ``python -m tests.fault.connectors chain mirror tables --kills 50 --every 3``.

Over servers of its own, which are killed, too. It prints what was at the end of each pipeline, and
how often who died; it ends with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.stack import shared
from deploy.stack.cluster import Cluster
from deploy.stack.kafka import Kafka
from deploy.stack.postgres import Postgres
from deploy.stack.registry import API
from tests.databases import database_of
from tests.fault.connectors.kafka.histories import Chain
from tests.fault.connectors.lives import Deaths, Lived, live
from tests.fault.connectors.postgres_sink.histories import BATCH_ROWS, Senders, Tables
from tests.fault.connectors.postgres_source.histories import PER_TRANSACTION, Mirror

HISTORIES = ("chain", "avro", "mirror", "tables")


def main() -> int:
    """Run histories."""
    arguments = argparse.ArgumentParser(prog="python -m tests.fault.connectors")
    arguments.add_argument("histories", nargs="+", choices=HISTORIES)
    arguments.add_argument("--kills", type=int, default=20, help="of the program, in each")
    arguments.add_argument("--every", type=int, default=3, help="lives until a server dies, too")
    arguments.add_argument("--rows", type=int, default=200_000, help="to be read, in all, some")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--lanes", type=int, default=1, help="of pipelines from Kafka")
    given = arguments.parse_args()
    wrong = 0
    for name in given.histories:
        with _prepared(name, given) as (lived, servers):
            deaths = Deaths(given.seed, given.kills, servers, given.every, given.lanes)
            seen = live(lived, deaths)
        sys.stdout.write(f"{name}, seed {given.seed}, killed: {dict(deaths.died)}\n")
        for pair, rows, problems in seen:
            found = "; ".join(problems) or "0 lost, 0 twice"
            sys.stdout.write(f"  {pair}: {rows} rows: {found}\n")
            wrong += len(problems)
        sys.stdout.flush()
    return min(wrong, 1)


@contextmanager
def _prepared(name: str, given: argparse.Namespace) -> Iterator[tuple[Lived, list[Cluster]]]:
    """Begin the servers of a history, and have something for the first life to read."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kafka = stack.enter_context(Kafka(folder))
        if name in {"chain", "avro"}:
            url = f"http://{shared('registry')}{API}" if name == "avro" else ""
            yield Chain(kafka.address, folder, given.rows, url, given.lanes), [kafka]
            return
        postgres = stack.enter_context(Postgres(folder / "postgres"))
        database = stack.enter_context(database_of(postgres.address))
        each = given.rows // max(1, given.kills)
        if name == "tables":
            senders = Senders(each // BATCH_ROWS)
            tables = Tables(kafka.address, database, folder, each, senders, given.lanes)
            yield stack.enter_context(tables), [kafka, postgres]
            return
        transactions = max(1, each // PER_TRANSACTION)
        mirror = Mirror(database, folder, given.seed, transactions, given.rows // 4, kafka.address)
        yield mirror, [kafka, postgres]


if __name__ == "__main__":
    sys.exit(main())
