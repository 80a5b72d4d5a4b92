"""The first records of some partitions, from which types are inferred."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress

from confluent_kafka import KafkaError, KafkaException

from dataflow.connect.batches import type_name
from dataflow.connect.columns import PinnedColumn
from dataflow.connect.types import parse_type, to_arrow
from dataflow.connectors.formats.json_infer import json_types
from dataflow.connectors.kafka.consuming import Consuming
from dataflow.connectors.kafka.decode import lines_of
from dataflow.connectors.kafka.fetched import Partition
from dataflow.connectors.kafka.registry.reading import RegistryReading
from dataflow.connectors.kafka.source_spec import KafkaSourceOptions, value_types

SAMPLE_S = 2.0
"""How long records are waited for."""


async def sample(
    sampling: Consuming, begins: Mapping[Partition, int], records: int
) -> Sequence[bytes]:
    """Return the values of the first records, as many as there are within a moment.

    Raises:
        KafkaException: a partition cannot be read, or not from there.
    """
    found: list[bytes] = []

    async def read(partition: Partition, offset: int) -> None:
        async with aclosing(sampling.read(partition, offset)) as reading:
            async for fetched in reading:
                for _, error in fetched.told:
                    if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                        raise KafkaException(error)
                found.extend(filter(None, fetched.values.to_pylist()))
                if fetched.told or len(found) >= records:
                    return

    try:
        with suppress(TimeoutError):  # What has come by then is what there is.
            async with asyncio.timeout(SAMPLE_S), asyncio.TaskGroup() as tasks:
                for partition, offset in begins.items():
                    tasks.create_task(read(partition, offset))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return found[:records]


def columns_of(
    options: KafkaSourceOptions,
    sampled: Sequence[bytes],
    topics: Sequence[str],
    registered: RegistryReading | None,
) -> Sequence[PinnedColumn]:
    """Return the columns of the value: those declared, then those beside them.

    Args:
        options: of the source.
        sampled: records that have them, if they are to be found there.
        topics: whose schemas have them, if they are to be found there.
        registered: knows those.
    """
    types = value_types(options)
    declared = {name: to_arrow(parse_type(text)) for name, text in types.items()}
    beside = set(options.metadata_columns)
    if sampled:
        found = json_types(lines_of(sampled), declared)
        types |= {name: type_name(of) for name, of in found.items() if name not in beside}
    if registered is not None and options.other_columns == "infer":
        known = registered.columns(topics)
        types |= {one.name: one.type for one in known if one.name not in {*types, *beside}}
    return [PinnedColumn(name=name, type=of) for name, of in types.items()]
