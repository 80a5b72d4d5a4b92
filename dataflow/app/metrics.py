"""What Prometheus is shown of a node, read when it asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dataflow.cluster.host import Host
from dataflow.cluster.runs import Runs
from dataflow.core.state import Status

if TYPE_CHECKING:
    from dataflow.views.bus import EventBus


class NodeCollector(Collector):
    """Pipelines by status, and of each that runs: records, bytes, lag, checkpoints."""

    def __init__(self, host: Host, runs: Runs) -> None:
        self._host = host
        self._runs = runs

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as of now; about 2 us a known pipeline."""
        statuses = Counter(resting.status for resting in self._host.known())
        pipelines = GaugeMetricFamily("dataflow_pipelines", "Pipelines known.", labels=["status"])
        for status in Status:
            if status is not Status.EMPTY:
                pipelines.add_metric([status], statuses[status])
        yield pipelines
        yield from self._running()

    def _running(self) -> Iterable[Metric]:
        labels = ["pipeline"]
        records = CounterMetricFamily("dataflow_records", "Records decided.", labels=labels)
        failed = CounterMetricFamily("dataflow_records_failed", "Records refused.", labels=labels)
        read = CounterMetricFamily("dataflow_bytes_read", "Bytes read, decided.", labels=labels)
        number = GaugeMetricFamily("dataflow_checkpoint", "Latest checkpoint.", labels=labels)
        lag = GaugeMetricFamily("dataflow_lag_bytes", "Bytes waiting in the source.", labels=labels)
        for pipeline in self._runs.running:
            loop = self._runs.loop(pipeline)
            if loop is None or loop.decided is None:
                continue
            totals = loop.decided.totals
            records.add_metric([pipeline], totals.records)
            failed.add_metric([pipeline], totals.failed)
            read.add_metric([pipeline], totals.bytes_read)
            number.add_metric([pipeline], loop.decided.stamp.number)
            if loop.progress.lag_bytes >= 0:
                lag.add_metric([pipeline], loop.progress.lag_bytes)
        return records, failed, read, number, lag


class BusCollector(Collector):
    """How far the events of a node's shards are published."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as of now; about 1 us a shard."""
        lag = GaugeMetricFamily("dataflow_event_bus_lag", "Events known and not published.")
        lag.add_metric([], self._bus.lag)
        stuck = GaugeMetricFamily(
            "dataflow_event_bus_stuck_shards", "Shards with an event that cannot be read."
        )
        stuck.add_metric([], self._bus.stuck)
        published = CounterMetricFamily("dataflow_event_bus_published", "Events published.")
        published.add_metric([], self._bus.published)
        failures = CounterMetricFamily(
            "dataflow_event_bus_failures", "Attempts that failed; each is made again."
        )
        failures.add_metric([], self._bus.failures)
        return lag, stuck, published, failures


def node_registry(host: Host, runs: Runs, bus: EventBus | None = None) -> CollectorRegistry:
    """Return a registry with what a node and its process have to show."""
    registry = process_registry()
    registry.register(NodeCollector(host, runs))
    if bus is not None:
        registry.register(BusCollector(bus))
    return registry


def process_registry() -> CollectorRegistry:
    """Return a registry with what every process has to show."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry
