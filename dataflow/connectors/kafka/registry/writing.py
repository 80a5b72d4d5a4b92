"""Rows to records with a schema's id in front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from dataflow.connect import Context, Rejected
from dataflow.connectors.kafka.registry.avro_derive import derived, record_name
from dataflow.connectors.kafka.registry.avro_types import Unreadable
from dataflow.connectors.kafka.registry.avro_write import AvroWriter
from dataflow.connectors.kafka.registry.client import Client, Schema
from dataflow.connectors.kafka.registry.options import WrittenRegistry, subject_of
from dataflow.connectors.kafka.registry.protobuf_write import ProtobufWriter

Written = tuple["pa.Array[Any]", Mapping[int, str]]


class Writer(Protocol):
    """Writes rows as records of one schema."""

    schema: pa.Schema

    def written(self, batch: pa.RecordBatch) -> Written:
        """Return a framed record for each row that fits, and why the others do not."""
        ...


class RegistryWriting:
    """Writes to one topic in one format."""

    def __init__(
        self, client: Client, options: WrittenRegistry, file_format: str, topic: str
    ) -> None:
        self._client = client
        self._options = options
        self._kind = file_format.upper()
        self._topic = topic
        self._subject = subject_of(options, topic)
        self._writer: Writer | None = None
        self._of: pa.Schema | None = None
        """The rows' columns that the writer is for."""

    def values(self, batch: pa.RecordBatch) -> Written:
        """Return a record for each row (large_binary), and why some are none; these are empty.

        Raises:
            Rejected: the rows' columns do not go with the schema, or it can't evolve.
            Unavailable: the registry does not answer.
        """
        if self._writer is None or self._of != batch.schema:
            self._writer = self._writer_of(batch.schema)
            self._of = batch.schema
        found, wrong = self._writer.written(batch)
        values = found.cast(pa.large_binary())
        if not wrong:
            return values, wrong
        places = np.full(batch.num_rows, len(values))
        places[np.setdiff1d(np.arange(batch.num_rows), list(wrong))] = np.arange(len(values))
        with_nothing = pa.concat_arrays([values, pa.array([b""], pa.large_binary())])
        return with_nothing.take(pa.array(places, pa.int64())), wrong

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _writer_of(self, columns: pa.Schema) -> Writer:
        schema = self._schema(columns)
        try:
            writer = self._made(schema)
        except Unreadable as error:
            message = f"subject {self._subject}, schema {schema.id}: {error}"
            raise Rejected(message, field="options.registry") from error
        others = [name for name in columns.names if name not in writer.schema.names]
        if others:
            message = f"subject {self._subject}, schema {schema.id} has no field"
            remedy = "drop such columns in a map step, or register a schema that has them"
            names = ", ".join(map(repr, others))
            raise Rejected(f"{message} {names}; {remedy}", field="options.registry")
        return writer

    def _schema(self, columns: pa.Schema) -> Schema:
        options = self._options
        if options.register_:
            name = options.record or record_name(self._topic)
            text = options.schema_ or derived(columns, name)
            return self._client.register(self._subject, self._kind, text)
        found = self._client.latest(self._subject)
        if found is None:
            message = f"subject {self._subject} holds no schema"
            remedy = "register one, or set options.registry.register"
            raise Rejected(f"{message}; {remedy}", field="options.registry")
        if found.kind != self._kind:
            message = f"subject {self._subject} holds {found.kind}, not {self._kind}"
            raise Rejected(message, field="options.format")
        return found

    def _made(self, schema: Schema) -> Writer:
        if self._kind == "AVRO":
            return AvroWriter(schema)
        return ProtobufWriter(schema, self._options.record)


def writing_of(
    options: WrittenRegistry | None, file_format: str, topic: str, context: Context
) -> RegistryWriting | None:
    """Return what writes the records of a format, if their schemas are in a registry."""
    if options is None:
        return None
    return RegistryWriting(Client(options, context), options, file_format, topic)
