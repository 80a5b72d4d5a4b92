"""What the server counts of its own work, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""A durable command takes 2 to 50 ms (fsync), a stop up to its deadline of 30 s."""

OK = "OK"
CANCELLED = "CANCELLED"
"""The caller went away."""


class Requests:
    """Requests by method and code, and how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = Counter(
            "dataflow_requests",
            "Requests answered.",
            ("transport", "method", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "dataflow_request_seconds",
            "Time from a request's arrival to its answer.",
            ("transport", "method"),
            buckets=BUCKETS_S,
            registry=registry,
        )

    def observe(self, transport: str, method: str, code: str, seconds: float) -> None:
        """Count one answer; ``code`` is ``OK`` or that of the error."""
        self._count.labels(transport, method, code).inc()
        self._seconds.labels(transport, method).observe(seconds)
