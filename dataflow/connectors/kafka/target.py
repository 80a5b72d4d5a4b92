"""The topic written to: it is there or is made, and takes some records and others not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigEntry, ConfigResource, NewTopic, ResourceType

from dataflow.connect import Rejected
from dataflow.connectors.kafka import sink_spec
from dataflow.connectors.kafka.topics import KNOWN_EVERY_S, KNOWN_TRIES

DRIVER_BYTES_MIN, DRIVER_BYTES_MAX = 1_000, 1_000_000_000
"""What the driver's own limit may be, whatever the topic's is."""


MOMENT_MAX = (1 << 63) - 1


class Limits(NamedTuple):
    """What a topic takes; as Kafka's own defaults have it."""

    record_bytes: int = 1_048_588
    is_compacted: bool = False
    """It forgets by key, so each record has one."""
    past_ms: int = MOMENT_MAX
    """How much earlier than now a record's moment may be, and how much later."""
    future_ms: int = 3_600_000

    def moments(self, now_ms: int) -> tuple[int, int]:
        """Return the first and the last moment of a record that the topic takes now."""
        return max(0, now_ms - self.past_ms), min(now_ms + self.future_ms, MOMENT_MAX)

    @property
    def driver_bytes(self) -> int:
        """Return what the driver's limit is set to."""
        return max(DRIVER_BYTES_MIN, min(self.record_bytes, DRIVER_BYTES_MAX))


def require_topic(
    settings: Mapping[str, Any], options: sink_spec.KafkaSinkOptions, timeout_s: float
) -> Limits:
    """Make a topic if it is not there and may be made; return what it takes.

    Raises:
        KafkaException: the brokers do not answer, or refuse.
        Rejected: it is not there, or takes no such records, or the brokers not its settings.
    """
    topic = options.topic
    admin = AdminClient(dict(settings))
    try:
        _require(admin, topic, options.create_topic, timeout_s)
    except KafkaException:
        admin.poll(0)  # It tells what it has heard within its calls alone.
        raise
    limits = _limits(admin, topic, timeout_s)
    if limits.is_compacted and not options.key_column:
        message = f"missing; {topic} is compacted, and takes no record without a key"
        raise Rejected(message, field="options.keyColumn")
    return limits


def _limits(admin: AdminClient, topic: str, timeout_s: float) -> Limits:
    asked = ConfigResource(ResourceType.TOPIC, topic)
    try:
        found = admin.describe_configs([asked], request_timeout=timeout_s)[asked].result()
    except KafkaException as raised:
        if raised.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return Limits()  # This login may write to it, and not look at its settings.
        raise
    return Limits(
        record_bytes=_number(found, "max.message.bytes", Limits().record_bytes),
        is_compacted="compact" in f"{found['cleanup.policy'].value}",
        past_ms=_number(found, "message.timestamp.before.max.ms", Limits().past_ms),
        future_ms=_number(found, "message.timestamp.after.max.ms", Limits().future_ms),
    )


def _number(found: Mapping[str, ConfigEntry], name: str, default: int) -> int:
    """Return a setting that brokers before 3.6 do not have."""
    return int(f"{found[name].value}") if name in found else default


def _require(
    admin: AdminClient, topic: str, wanted: sink_spec.NewTopic | None, timeout_s: float
) -> None:
    found = admin.list_topics(topic, timeout_s).topics[topic]
    if found.error is None:
        return
    if found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise KafkaException(found.error)
    if wanted is None:
        if _becomes_known(admin, topic, timeout_s, KNOWN_TRIES):
            return
        message = f"{topic}: there is no such topic; create it, or set options.createTopic"
        raise Rejected(message, field="options.topic")
    new = NewTopic(topic, wanted.partitions, wanted.replication_factor, config=wanted.config)
    making = admin.create_topics([new], operation_timeout=timeout_s, request_timeout=timeout_s)
    try:
        making[topic].result()
    except KafkaException as raised:
        error: KafkaError = raised.args[0]
        if error.code() in {
            KafkaError.INVALID_CONFIG,
            KafkaError.INVALID_REPLICATION_FACTOR,
            KafkaError.INVALID_PARTITIONS,
            KafkaError.POLICY_VIOLATION,
        }:
            message = f"the brokers do not make topic {topic}: {error.str()}"
            raise Rejected(message, field="options.createTopic") from raised
        if error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    # Also of what another task has just made.
    _becomes_known(admin, topic, timeout_s, round(timeout_s / KNOWN_EVERY_S))


def _becomes_known(admin: AdminClient, topic: str, timeout_s: float, tries: int) -> bool:
    """Wait until brokers know of a new topic: the controller, which makes it, tells them later."""
    for _ in range(tries):
        if admin.list_topics(topic, timeout_s).topics[topic].error is None:
            return True
        time.sleep(KNOWN_EVERY_S)
    return False
