"""The Kafka of a node: where a cluster keeps pushed records, and where events are published."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

from dataflow.app.checking import NO_PUSH
from dataflow.app.clock import SystemClock
from dataflow.app.settings import Settings
from dataflow.cluster.host import Host
from dataflow.connect import Log, LogBatch
from dataflow.connectors.kafka.connection import Security, security_problems
from dataflow.core.errors import Rejected
from dataflow.core.ids import PipelineId
from dataflow.engine.ingest import FileLogs, Ingested, IngestLogs, IngestOptions
from dataflow.engine.ingest.pushed import Parse
from dataflow.journal.contract import Journal

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflow.engine.ingest.kafka import Brokers
    from dataflow.views.bus import EventBus

PROTOCOLS = {
    "plaintext": "PLAINTEXT",
    "tls": "SSL",
    "saslPlaintext": "SASL_PLAINTEXT",
    "saslTls": "SASL_SSL",
}


def logs_of(settings: Settings) -> IngestLogs:
    """Return the ingest logs that the settings say."""
    if settings.ingest_log == "files":
        return FileLogs(settings.data_dir / "ingest")
    if not settings.kafka_brokers:
        return NoLogs()
    from dataflow.engine.ingest.kafka import KafkaLogs

    return KafkaLogs(_brokers(settings))


def log_of(settings: Settings) -> Callable[[PipelineId], Log] | None:
    """Return how a worker process has a log by itself; None where it asks its node."""
    if settings.ingest_log == "files":
        return None
    if not settings.kafka_brokers:
        return NoLogs().log
    from dataflow.engine.ingest.kafka import KafkaLog

    brokers = _brokers(settings)
    return lambda pipeline: KafkaLog(brokers, pipeline)


def _brokers(settings: Settings) -> Brokers:
    from dataflow.engine.ingest.kafka import Brokers

    _require_security(settings)
    given = {
        "bootstrap.servers": ",".join(settings.kafka_brokers),
        "client.id": f"dataflow.{settings.cluster}.{settings.node_id or 'embedded'}",
        "security.protocol": PROTOCOLS[settings.kafka_protocol],
    }
    if settings.kafka_protocol.startswith("sasl"):
        given["sasl.mechanism"] = settings.kafka_mechanism
        given["sasl.username"] = settings.kafka_username
        given["sasl.password"] = settings.kafka_password.get_secret_value()
    files = {
        "ssl.ca.location": settings.kafka_ca_file,
        "ssl.certificate.location": settings.kafka_certificate_file,
        "ssl.key.location": settings.kafka_key_file,
    }
    given |= {name: file for name, file in files.items() if file}
    return Brokers(given, settings.cluster, SystemClock(), settings.kafka_replicas or -1)


def _require_security(settings: Settings) -> None:
    """Refuse what a step's option ``security`` would be refused for."""
    given = Security(
        protocol=settings.kafka_protocol,
        mechanism=settings.kafka_mechanism,
        username=settings.kafka_username,
        password=settings.kafka_password.get_secret_value(),
        ca_file=settings.kafka_ca_file,
        certificate_file=settings.kafka_certificate_file,
        key_file=settings.kafka_key_file,
    )
    for problem in security_problems(given):
        option = problem.field.rpartition(".")[2]
        name = "kafka_" + "".join(f"_{c.lower()}" if c.isupper() else c for c in option)
        raise Rejected(problem.message, field=f"{name} (DATAFLOW_{name.upper()})")


@asynccontextmanager
async def event_bus(
    settings: Settings, journal: Journal, host: Host
) -> AsyncGenerator[EventBus | None, None]:
    """Return the event bus of a node, which publishes until the block is left; None without.

    Raises:
        Rejected: there is a topic, and no Kafka.
    """
    if not settings.events_topic:
        yield None
        return
    if not settings.kafka_brokers:
        raise Rejected(
            "missing; events_topic needs Kafka, as host:port",
            field="kafka_brokers (DATAFLOW_KAFKA_BROKERS)",
        )
    _require_security(settings)
    from dataflow.views.bus import EventBus
    from dataflow.views.bus.kafka import KafkaTopic, Login, Names

    name, topic = settings.node_id or "embedded", settings.events_topic
    login = Login(
        brokers=settings.kafka_brokers,
        client_id=f"dataflow.{settings.cluster}.{name}.events",
        protocol=PROTOCOLS[settings.kafka_protocol],
        mechanism=settings.kafka_mechanism,
        username=settings.kafka_username,
        password=settings.kafka_password.get_secret_value(),
        ca_file=settings.kafka_ca_file,
        certificate_file=settings.kafka_certificate_file,
        key_file=settings.kafka_key_file,
    )
    names = Names(
        topic=topic,
        transactional_id=f"dataflow.{settings.cluster}.events.{topic}.{name}",
        partitions=settings.events_partitions,
        replicas=settings.kafka_replicas,
    )
    async with EventBus.open(journal, KafkaTopic(login, names), lambda: host.owned) as bus:
        yield bus


class NoLogs:
    """Implements ``IngestLogs`` and ``connect.Log`` where there are none, and says so."""

    def parse_by(self, parse: Parse) -> None:
        """Do nothing: no batch comes this far."""

    async def append(
        self,
        pipeline: PipelineId,
        batch_id: str,
        content_type: str,
        payload: bytes,
        *,
        source_options: IngestOptions,
    ) -> Ingested:
        """Refuse the batch."""
        del pipeline, batch_id, content_type, payload, source_options
        _refuse()

    def log(self, pipeline: PipelineId) -> Log:
        """Return what refuses to be read."""
        del pipeline
        return self

    async def remove(self, pipeline: PipelineId) -> None:
        """Do nothing: whoever has logs deletes them."""

    async def close(self) -> None:
        """Do nothing."""

    async def read(self, start: int) -> AsyncGenerator[LogBatch, None]:
        """Refuse to be read."""
        del start
        _refuse()
        yield  # It makes this a generator.

    async def begin(self) -> int:
        """Refuse to be read."""
        _refuse()

    async def end(self) -> int:
        """Return that nothing was pushed here."""
        return 0

    async def behind(self, start: int) -> tuple[int, int]:
        """Return that it is not known."""
        del start
        return -1, -1

    async def schema(self) -> pa.Schema | None:
        """Refuse to be read."""
        _refuse()

    async def cut(self, below: int) -> None:
        """Refuse to be read."""
        del below
        _refuse()


def _refuse() -> NoReturn:
    raise Rejected(NO_PUSH, field="kafka_brokers (DATAFLOW_KAFKA_BROKERS)")
