"""The work as a Quix Streams application, exactly once, with a transaction a second.

``python -m bench.peers.run_quix BROKERS SOURCE TARGET RECORDS``: as its documentation has it.
"""

from __future__ import annotations

import sys
from typing import Any

from quixstreams import Application

from bench.peers.timing import measured


def work(brokers: str, source: str, target: str, records: int) -> None:
    """Keep every second record, and compute a field; ends with the last one."""
    app = Application(
        broker_address=brokers,
        consumer_group=f"quix-{target}",
        auto_offset_reset="earliest",
        commit_interval=1.0,
        processing_guarantee="exactly-once",
        auto_create_topics=False,
        consumer_extra_config={"fetch.queue.backoff.ms": 5},
        producer_extra_config={"compression.type": "lz4", "linger.ms": 20},
        loglevel="ERROR",
    )
    orders = app.dataframe(app.topic(source))
    orders = orders.filter(lambda row: row["id"] % 2 == 0).apply(_with_total)
    orders.to_topic(app.topic(target))
    app.run(count=(records + 1) // 2, collect=False)


def _with_total(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "total": row["price"] * row["quantity"]}


if __name__ == "__main__":
    asked = sys.argv[1:]
    measured(lambda: work(asked[0], asked[1], asked[2], int(asked[3])))
