"""The workloads, by name: the only list of them."""

from __future__ import annotations

from collections.abc import Mapping

from bench.workloads import (
    aggregate,
    cluster_commands,
    commands,
    coordination,
    etl,
    failover,
    flat_map,
    gateway_commands,
    join,
    journal,
    kafka,
    kafka_backlog,
    keyed,
    memory,
    planned_move,
    postgres,
    push,
    python_step,
    scale,
    starting,
    workers,
)
from bench.workloads.workload import Workload

WORKLOADS: Mapping[str, Workload] = {
    workload.name: workload
    for workload in (
        etl.CSV,
        etl.NDJSON,
        aggregate.WORKLOAD,
        flat_map.WORKLOAD,
        keyed.DEDUPLICATE,
        keyed.JOIN_TABLE,
        keyed.ENRICH,
        push.WORKLOAD,
        kafka.WORKLOAD,
        kafka_backlog.WORKLOAD,
        postgres.FILE,
        postgres.CHANGES,
        commands.WORKLOAD,
        cluster_commands.WORKLOAD,
        gateway_commands.WORKLOAD,
        coordination.WORKLOAD,
        join.WORKLOAD,
        journal.WORKLOAD,
        failover.WORKLOAD,
        planned_move.WORKLOAD,
        starting.STARTUP,
        starting.IDLE,
        memory.WORKLOAD,
        scale.WORKLOAD,
        workers.WORKLOAD,
        python_step.WORKLOAD,
    )
}
