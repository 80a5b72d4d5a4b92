"""The ingest logs of a cluster as one of its nodes has them."""

from __future__ import annotations

from collections.abc import Callable

from dataflow.connect import Log
from dataflow.core.ids import PipelineId
from dataflow.engine.ingest.kafka.brokers import Brokers
from dataflow.engine.ingest.kafka.log import KafkaLog
from dataflow.engine.ingest.kafka.store import KafkaStore
from dataflow.engine.ingest.log import OpenLog
from dataflow.engine.ingest.logs import OPEN_LOGS_MAX, PENDING_BYTES_MAX, OpenLogs

STORING_THREADS = 16
"""They wait for brokers, some 10 ms a group: as many logs are written at once."""


class KafkaLogs(OpenLogs[OpenLog]):
    """Every pipeline's ingest log, on the brokers of a cluster."""

    def __init__(
        self,
        brokers: Brokers,
        *,
        open_logs_max: int = OPEN_LOGS_MAX,
        pending_bytes_max: int = PENDING_BYTES_MAX,
        probe: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(
            storing_threads=STORING_THREADS,
            open_logs_max=open_logs_max,
            pending_bytes_max=pending_bytes_max,
        )
        self._brokers = brokers
        self._probe = probe

    def log(self, pipeline: PipelineId) -> Log:
        """See ``IngestLogs``."""
        return KafkaLog(self._brokers, pipeline)

    def _made(self, pipeline: PipelineId, decided: int) -> OpenLog:
        topic = self._brokers.topic(pipeline)
        store = KafkaStore(self._brokers, topic, self._probe)
        return OpenLog(store, self._threads, self._parse, decided)

    def _delete(self, pipeline: PipelineId) -> None:
        self._brokers.remove(self._brokers.topic(pipeline))
