"""The ``kafka`` sink as people configure it. Imports no driver and no Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dataflow.connect import (
    Duration,
    Guarantee,
    Model,
    Options,
    PipelineOptions,
    Problem,
    SinkSpec,
    SinkStep,
)
from dataflow.connectors.kafka.connection import Security, brokers_problem, security_problems
from dataflow.connectors.kafka.registry.options import (
    REGISTRY_FORMATS,
    WrittenRegistry,
    registry_problems,
)
from dataflow.connectors.kafka.topics import topic_name

TRANSACTION_TIMEOUT = timedelta(minutes=5)
TRANSACTION_TIMEOUT_MIN, TRANSACTION_TIMEOUT_MAX = timedelta(seconds=10), timedelta(minutes=15)


def _timeout(given: timedelta) -> timedelta:
    if not TRANSACTION_TIMEOUT_MIN <= given <= TRANSACTION_TIMEOUT_MAX:
        raise ValueError("choose from 10s to 15m; a transaction lasts for a checkpoint")
    return given


class NewTopic(Model):
    """A topic that is made if it is not there."""

    partitions: int = Field(default=1, ge=1, le=100_000)
    replication_factor: int = Field(
        default=-1, ge=-1, le=100, description="-1 is what the brokers are set to."
    )
    config: dict[str, str] = Field(
        default={}, max_length=100, description="Of the topic, by Kafka's names."
    )


class KafkaSinkOptions(Options):
    """How rows become records of a topic."""

    topic: Annotated[str, AfterValidator(topic_name)] = Field(description="Where rows go.")
    format: Literal["json", "avro", "protobuf", "string", "bytes"] = Field(
        default="json",
        description="json: an object a row; avro, protobuf: a row whose schema a registry keeps;"
        " string, bytes: the one column valueColumn.",
    )
    registry: WrittenRegistry | None = Field(
        default=None, description="avro, protobuf: where the schema is."
    )
    value_column: str = Field(
        default="", description="string, bytes: whose value is the record's; null is a tombstone."
    )
    key_column: str = Field(
        default="", description="Whose value is the record's key: text, bytes, or as text."
    )
    keep_key: bool = Field(
        default=True, description="json, avro, protobuf: the key is in the value, too."
    )
    headers_column: str = Field(
        default="", description="Of headers: a struct or map of texts, or JSON text of an object."
    )
    timestamp_column: str = Field(
        default="", description="Whose moment is the record's; by default when it is written."
    )
    partitioner: Literal["murmur2", "consistent", "random"] = Field(
        default="murmur2",
        description="By key: murmur2 places keys as Java's clients do, consistent (CRC32) as"
        " librdkafka's. Records without a key go anywhere.",
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(default="lz4")
    create_topic: NewTopic | None = Field(
        default=None, description="Make the topic if it is not there; by default that is an error."
    )
    delivery: Literal["exactly-once", "at-least-once"] = Field(
        default="exactly-once",
        description="exactly-once: in transactions; at-least-once: without, for brokers that have"
        " none, or readers that shall not wait for checkpoints.",
    )
    transaction_timeout: Annotated[Duration, AfterValidator(_timeout)] = Field(
        default=TRANSACTION_TIMEOUT,
        description="How long the brokers keep what a dead pipeline left open; readers of"
        " committed records wait as long. Longer than any checkpoint takes.",
    )
    id_prefix: Annotated[str, AfterValidator(topic_name)] = Field(
        default="dataflow",
        description="Of the transactional id and the group: choose another one where several"
        " platforms write to one Kafka.",
    )
    security: Security = Security()


def check(step: SinkStep, options: KafkaSinkOptions) -> Sequence[Problem]:
    """Return what is wrong with options that each look right alone."""
    problems = list(security_problems(options.security))
    if problem := brokers_problem(step.connection_string):
        problems.append(Problem("connectionString", problem))
    problems += registry_problems(options.format, options.registry)
    has_fields = options.format == "json" or options.format in REGISTRY_FORMATS
    if has_fields and options.value_column:
        message = f"with {options.format} every column is in the value; leave it empty, or write"
        message += " string or bytes"
        problems.append(Problem("options.valueColumn", message))
    if not has_fields and not options.value_column:
        problems.append(Problem("options.valueColumn", f"missing; {options.format} needs it"))
    if not options.keep_key and not (options.key_column and has_fields):
        problems.append(
            Problem("options.keepKey", "only with json, avro or protobuf, and keyColumn")
        )
    return problems


def beside(options: KafkaSinkOptions, pipeline: PipelineOptions) -> Sequence[Problem]:
    """Return what is wrong with options beside those of the pipeline."""
    timeout, interval = options.transaction_timeout, pipeline.checkpoint_interval
    if options.delivery != "exactly-once" or timeout > interval:
        return []
    message = (
        "not longer than the pipeline's checkpointInterval: brokers would abort each transaction"
        " before its checkpoint; make it longer, or that interval shorter"
    )
    return [Problem("options.transactionTimeout", message)]


SPEC = SinkSpec(
    name="kafka",
    summary="Records of a topic, in transactions that hold their own decision, or without.",
    guarantee=Guarantee.EXACTLY_ONCE,
    options=KafkaSinkOptions,
    open="dataflow.connectors.kafka.sink:open_sink",
    guaranteed=lambda options: Guarantee(options.delivery),
    check=check,
    decides=lambda options: Guarantee(options.delivery) is Guarantee.EXACTLY_ONCE,
    beside=beside,
    lanes=True,
)
