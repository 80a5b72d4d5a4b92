"""Topics: they are there or are made, and take records of a certain size."""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from dataflow.connect import Rejected
from dataflow.connectors.kafka import sink_spec

RECORD_BYTES_MAX = 1_048_588
"""What Kafka takes where nobody has said otherwise."""

_SIZE = "max.message.bytes"

KNOWN_EVERY_S = 0.1
"""Between two looks for a topic that has been made."""


def require_topic(
    settings: Mapping[str, str], topic: str, wanted: sink_spec.NewTopic | None, timeout_s: float
) -> int:
    """Make a topic if it is not there and may be made; return the bytes its records may have.

    Raises:
        KafkaException: the brokers do not answer, or refuse.
        Rejected: it is not there, or the brokers do not take its settings.
    """
    admin = AdminClient(dict(settings))
    _require(admin, topic, wanted, timeout_s)
    asked = ConfigResource(ResourceType.TOPIC, topic)
    try:
        found = admin.describe_configs([asked], request_timeout=timeout_s)[asked].result()
    except KafkaException as raised:
        if raised.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return RECORD_BYTES_MAX  # This login may write to it, and not look at its settings.
        raise
    return int(found[_SIZE].value)


def _require(
    admin: AdminClient, topic: str, wanted: sink_spec.NewTopic | None, timeout_s: float
) -> None:
    found = admin.list_topics(topic, timeout_s).topics[topic]
    if found.error is None:
        return
    if wanted is None or found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise KafkaException(found.error)
    new = NewTopic(topic, wanted.partitions, wanted.replication_factor, config=wanted.config)
    making = admin.create_topics([new], operation_timeout=timeout_s, request_timeout=timeout_s)
    try:
        making[topic].result()
        _await(admin, topic, timeout_s)
    except KafkaException as raised:
        error: KafkaError = raised.args[0]
        if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return
        if error.code() in {
            KafkaError.INVALID_CONFIG,
            KafkaError.INVALID_REPLICATION_FACTOR,
            KafkaError.INVALID_PARTITIONS,
            KafkaError.POLICY_VIOLATION,
        }:
            message = f"the brokers do not make topic {topic}: {error.str()}"
            raise Rejected(message, field="options.createTopic") from raised
        raise


def _await(admin: AdminClient, topic: str, timeout_s: float) -> None:
    """Return once brokers know of a new topic: the one that made it tells them."""
    for _ in range(round(timeout_s / KNOWN_EVERY_S)):
        if admin.list_topics(topic, timeout_s).topics[topic].error is None:
            return
        time.sleep(KNOWN_EVERY_S)
