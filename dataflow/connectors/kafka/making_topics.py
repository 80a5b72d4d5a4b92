"""Topics that have to be there, and are made where the options say how."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from dataflow.connect import Rejected
from dataflow.connectors.kafka import sink_spec


def require_topic(
    settings: Mapping[str, str], topic: str, wanted: sink_spec.NewTopic | None, timeout_s: float
) -> None:
    """Make a topic if it is not there and may be made.

    Raises:
        KafkaException: the brokers do not answer, or refuse.
        Rejected: it is not there, or the brokers do not take its settings.
    """
    admin = AdminClient(dict(settings))
    found = admin.list_topics(topic, timeout_s).topics[topic]
    if found.error is None:
        return
    if wanted is None or found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
        raise KafkaException(found.error)
    new = NewTopic(topic, wanted.partitions, wanted.replication_factor, config=wanted.config)
    making = admin.create_topics([new], operation_timeout=timeout_s, request_timeout=timeout_s)
    try:
        making[topic].result()
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
