"""The steps that come with the platform; the only list of them."""

from __future__ import annotations

from dataflow.connect import Registry
from dataflow.connect.spec import AnySpec
from dataflow.connectors import console, generator, push
from dataflow.connectors.file import lookup_spec as file_lookup
from dataflow.connectors.file import sink_spec as file_sink
from dataflow.connectors.file import source_spec as file_source
from dataflow.connectors.http import lookup_spec as http_lookup
from dataflow.connectors.kafka import sink_spec as kafka_sink
from dataflow.connectors.kafka import source_spec as kafka_source
from dataflow.connectors.postgres import lookup_spec as postgres_lookup
from dataflow.connectors.postgres import sink_spec as postgres_sink
from dataflow.connectors.postgres.source import spec as postgres_source
from dataflow.transforms import (
    deduplicate_spec,
    enrich_spec,
    filter_spec,
    flat_map_spec,
    join_spec,
    map_spec,
    route_spec,
    sql_spec,
    validate_spec,
)
from dataflow.transforms.aggregate import spec as aggregate_spec
from dataflow.transforms.python import spec as python_spec

BUILTIN: tuple[AnySpec, ...] = (
    file_source.SPEC,
    kafka_source.SPEC,
    postgres_source.SPEC,
    generator.SPEC,
    push.SPEC,
    filter_spec.SPEC,
    map_spec.SPEC,
    flat_map_spec.SPEC,
    route_spec.SPEC,
    validate_spec.SPEC,
    sql_spec.SPEC,
    deduplicate_spec.SPEC,
    python_spec.SPEC,
    aggregate_spec.SPEC,
    join_spec.SPEC,
    enrich_spec.SPEC,
    file_lookup.SPEC,
    http_lookup.SPEC,
    postgres_lookup.SPEC,
    console.SPEC,
    file_sink.SPEC,
    kafka_sink.SPEC,
    postgres_sink.SPEC,
)


def registry() -> Registry:
    """Return the built-in steps and those of installed packages."""
    return Registry.discover(BUILTIN)
