"""The ``kafka`` source as people configure it, and as the journal remembers it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dataflow.connect import Options, Pinned, Position, Problem, SourceSpec, SourceStep
from dataflow.connect.columns import (
    COLUMNS_MAX,
    TAKEN,
    ColumnTypes,
    PinnedColumn,
    type_problem,
)
from dataflow.connect.transform import HIDDEN
from dataflow.connect.types import Kind, Type
from dataflow.connectors.kafka.connection import Security, brokers_problem, security_problems
from dataflow.connectors.kafka.registry.options import (
    REGISTRY_FORMATS,
    ReadRegistry,
    registry_problems,
)
from dataflow.connectors.kafka.topics import topic_name

INFER_RECORDS, INFER_RECORDS_MAX = 1_000, 100_000
_UNWRITTEN = {Kind.NULL, Kind.DURATION, Kind.INTERVAL}


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


class KafkaSourceOptions(Options):
    """What is read of which topics, and from where on."""

    topics: tuple[Annotated[str, AfterValidator(topic_name)], ...] = Field(
        default=(), max_length=1_000, description="Names; or a topicPattern."
    )
    topic_pattern: Annotated[str, AfterValidator(_pattern)] = Field(
        default="",
        max_length=1_000,
        description="A regular expression that the whole name of a topic matches; topics that come"
        " later are read from their beginning.",
    )
    format: Literal["json", "avro", "protobuf", "string", "bytes"] = Field(
        default="json",
        description="json: an object a record; avro, protobuf: a record whose schema a registry"
        " keeps; string, bytes: one column.",
    )
    registry: ReadRegistry | None = Field(
        default=None, description="avro, protobuf: where the schemas are."
    )
    types: ColumnTypes = Field(
        default={},
        alias="schema",
        max_length=COLUMNS_MAX,
        description="json, avro, protobuf: types by column, or a list of {name, type}.",
    )
    other_columns: Literal["infer", "drop", "reject"] = Field(
        default="infer",
        description="What to do with fields that schema does not name: infer their types from the"
        " first records, or have those of the newest registered schema; drop them, or reject the"
        " record.",
    )
    infer_records: int = Field(
        default=INFER_RECORDS,
        ge=1,
        le=INFER_RECORDS_MAX,
        description="json: how many records types are inferred from.",
    )
    value_column: str = Field(default="value", description="string, bytes: the column's name.")
    key_column: str = Field(default="", description="Column for the key; empty for none.")
    key_format: Literal["string", "bytes"] = "string"
    headers_column: str = Field(
        default="", description="Column for headers, as JSON text of an object."
    )
    topic_column: str = Field(default="", description="Column for the topic's name.")
    partition_column: str = Field(default="", description="Column for the partition, an int32.")
    offset_column: str = Field(default="", description="Column for the offset, an int64.")
    timestamp_column: str = Field(default="", description="Column for the record's moment, UTC.")
    tombstones: Literal["skip", "nulls"] = Field(
        default="skip",
        description="Records without a value: skipped, or rows whose value columns are null.",
    )
    start: Literal["earliest", "latest", "timestamp", "committed"] = Field(
        default="earliest",
        description="Where a new pipeline begins: timestamp needs startTime; committed is where"
        " the group stands, or the beginning. Afterwards it goes on from its own decisions.",
    )
    start_time: datetime | None = Field(
        default=None, description="With start timestamp: the first records at or after it."
    )
    stop_at_end: bool = Field(
        default=False, description="End with the last record that is there when a run begins."
    )
    group: str = Field(
        default="",
        max_length=249,
        description="The consumer group that shows how far this pipeline has got; by default"
        " <idPrefix>.<pipeline>.<step>. Nothing is read from it, except with start committed.",
    )
    id_prefix: Annotated[str, AfterValidator(topic_name)] = Field(
        default="dataflow", description="Of the group's default name."
    )
    on_missing_offset: Literal["fail", "earliest", "latest"] = Field(
        default="fail",
        description="When the next record is gone, as retention deletes records: fail, or go on"
        " with the first that is left, or with what comes.",
    )
    isolation: Literal["committed", "uncommitted"] = Field(
        default="committed", description="Whether records of open and aborted transactions count."
    )
    security: Security = Security()

    @property
    def has_fields(self) -> bool:
        """Tell whether a record has fields, which become columns."""
        return self.format == "json" or self.format in REGISTRY_FORMATS

    @property
    def metadata_columns(self) -> Sequence[str]:
        """Return the names of the columns beside the value, in their order."""
        names = (
            self.key_column,
            self.headers_column,
            self.topic_column,
            self.partition_column,
            self.offset_column,
            self.timestamp_column,
        )
        return [name for name in names if name]


class KafkaPosition(Position):
    """The offset of the next record of a partition."""

    offset: int = Field(default=0, ge=0)
    topic_id: str = Field(
        default="",
        description="Of the topic it counts in: one made anew under its name is another.",
    )


class KafkaPinned(Pinned):
    """What is fixed for a lineage before its first row.

    Attributes:
        columns: of the value.
        begins: partition -> the offset it begins at; one that comes later begins at its beginning.
        topic_ids: topic -> the id that it had then.
    """

    columns: tuple[PinnedColumn, ...]
    begins: Mapping[str, int] = {}
    topic_ids: Mapping[str, str] = {}


def check(step: SourceStep, options: KafkaSourceOptions) -> Sequence[Problem]:
    """Return what is wrong with options that each look right alone."""
    problems = list(security_problems(options.security))
    if problem := brokers_problem(step.connection_string):
        problems.append(Problem("connectionString", problem))
    if bool(options.topics) == bool(options.topic_pattern):
        problems.append(Problem("options.topics", "give topics or a topicPattern"))
    if (options.start == "timestamp") != (options.start_time is not None):
        problems.append(Problem("options.startTime", "goes with start timestamp, and only with it"))
    if options.start_time is not None and options.start_time.tzinfo is None:
        problems.append(Problem("options.startTime", "say the zone, as in 2026-01-31T00:00:00Z"))
    problems += registry_problems(options.format, options.registry)
    if options.types and not options.has_fields:
        problems.append(Problem("options.schema", "only with format json, avro or protobuf"))
    if options.other_columns == "drop" and not options.types:
        problems.append(Problem("options.schema", "missing; otherColumns drop keeps only those"))
    problems += [
        Problem(f"options.schema.{name}", problem)
        for name, text in options.types.items()
        if (problem := TAKEN if name in HIDDEN else type_problem(text, _impossible))
    ]
    return [*problems, *_name_problems(options)]


def _name_problems(options: KafkaSourceOptions) -> Sequence[Problem]:
    names = [*options.metadata_columns, *options.types]
    names += [] if options.has_fields else [options.value_column]
    twice = [name for name, count in Counter(names).items() if count > 1]
    problems = [Problem("options", f"two columns are named {name!r}") for name in twice]
    return problems + [Problem("options", f"{n!r}: {TAKEN}") for n in names if n in HIDDEN]


def _impossible(of: Type) -> str:
    return f"a JSON record cannot hold {of}" if of.kind in _UNWRITTEN else ""


def _schema(options: KafkaSourceOptions) -> Mapping[str, str] | None:
    if options.has_fields and (not options.types or options.other_columns == "infer"):
        return None
    return value_types(options) | metadata_types(options)


def value_types(options: KafkaSourceOptions) -> dict[str, str]:
    """Return the types of the value's columns, as far as they are declared."""
    if options.has_fields:
        return dict(options.types)
    return {options.value_column: "string" if options.format == "string" else "binary"}


def metadata_types(options: KafkaSourceOptions) -> dict[str, str]:
    """Return the types of the columns beside the value."""
    types = {
        options.key_column: "string" if options.key_format == "string" else "binary",
        options.headers_column: "string",
        options.topic_column: "string",
        options.partition_column: "int32",
        options.offset_column: "int64",
        options.timestamp_column: "timestamptz",
    }
    return {name: of for name, of in types.items() if name}


SPEC = SourceSpec(
    name="kafka",
    summary="Records of topics, partition by partition.",
    options=KafkaSourceOptions,
    open="dataflow.connectors.kafka.source:open_source",
    position=KafkaPosition,
    pinned=KafkaPinned,
    check=check,
    schema=_schema,
    lanes=True,
)
