"""Records with a schema's id in front, to rows of the pipeline's columns.

A batch may hold records of several ids. Each is read with its own schema and fitted by the names
of fields: one that is missing is null, one that the pipeline does not know is dropped, or has the
record refused.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dataflow.connect import Context, Rejected, Waiting
from dataflow.connect.batches import one_batch, type_name
from dataflow.connect.columns import PinnedColumn
from dataflow.connectors.formats.parse import Bad, Parsed, Refused
from dataflow.connectors.kafka.registry import protobuf
from dataflow.connectors.kafka.registry.avro_read import FRAME_BYTES, AvroReader
from dataflow.connectors.kafka.registry.avro_types import Unreadable
from dataflow.connectors.kafka.registry.client import Client, Schema, UnknownSchema
from dataflow.connectors.kafka.registry.fitting import fit
from dataflow.connectors.kafka.registry.options import ReadRegistry, subject_of

READERS_MAX = 1_000
"""Schemas that are known at once; a topic has tens."""

Reader = AvroReader | protobuf.ProtobufMessages

_Key = tuple[int, protobuf.Indexes]


class _Group(NamedTuple):
    """Records that are read together."""

    rows: list[int]
    """Which of the batch."""
    values: list[bytes]
    """As the reader takes them."""


class RegistryReading:
    """Reads records of one format."""

    def __init__(self, client: Client, options: ReadRegistry, file_format: str) -> None:
        self._client = client
        self._options = options
        self._kind = file_format.upper()
        self._readers: dict[_Key, Reader] = {}

    def columns(self, topics: Sequence[str]) -> Sequence[PinnedColumn]:
        """Return the columns that the newest schemas of topics have.

        Raises:
            Waiting: none is registered yet.
            Rejected: one has what no column can hold.
        """
        subjects = dict.fromkeys(subject_of(self._options, topic) for topic in topics)
        found: dict[str, str] = {}
        for subject in subjects:
            if (schema := self._client.latest(subject)) is None:
                continue
            if schema.kind != self._kind:
                message = f"subject {subject} holds {schema.kind}, not {self._kind}"
                raise Rejected(message, field="options.format")
            try:
                reader = self._made(schema, None)
            except Unreadable as error:
                message = f"subject {subject}, schema {schema.id}: {error}"
                raise Rejected(message, field="options.registry") from error
            fitted = {field.name: type_name(_plain(field.type)) for field in reader.schema}
            found = {**fitted, **found}
        if not found:
            what = f"{self._client.url}: nothing is registered as {', '.join(subjects)} yet"
            raise Waiting(f"{what}; or declare a schema, or name the subject in options.registry")
        return [PinnedColumn(name=name, type=of) for name, of in found.items()]

    def rows(self, values: Sequence[bytes | None], to: pa.Schema, *, closed: bool) -> Parsed:
        """Return records as rows, in their order.

        Args:
            values: records; one that is None is a row of nulls.
            to: the pipeline's columns.
            closed: whether a record with other fields is refused.

        Raises:
            Rejected, Unavailable: the registry refuses, or does not answer.
        """
        wrong: dict[int, str] = {}
        batches, places = [], []
        tombstones = [row for row, value in enumerate(values) if value is None]
        if tombstones:
            batches.append(_nulls(len(tombstones), to))
            places.append(np.array(tombstones, np.int64))
        for key, group in self._grouped(values, wrong).items():
            read = self._read(key, group, wrong)
            if read is None:
                continue
            rows, batch = read
            others = [name for name in batch.schema.names if name not in to.names]
            if closed and others:
                message = f"has other fields than were declared: {', '.join(map(repr, others))}"
                wrong |= dict.fromkeys(rows, message)
                continue
            fitted = fit(batch, to)
            wrong |= {rows[index]: why for index, why in fitted.wrong.items()}
            kept = [row for index, row in enumerate(rows) if index not in fitted.wrong]
            batches.append(fitted.batch)
            places.append(np.array(kept, np.int64))
        bad = [Bad(row, _shown(values[row]), wrong[row]) for row in sorted(wrong)]
        return Parsed(_in_order(batches, places, to), bad)

    def _grouped(
        self, values: Sequence[bytes | None], wrong: dict[int, str]
    ) -> Mapping[_Key, _Group]:
        found: dict[_Key, _Group] = {}
        known: dict[bytes, tuple[_Group, int]] = {}
        head_bytes = FRAME_BYTES if self._kind == "AVRO" else FRAME_BYTES + 1
        for row, value in enumerate(values):
            if value is None:
                continue
            head = value[:head_bytes]
            if head in known:
                group, begin = known[head]
            else:
                try:
                    key, begin = self._framed(value)
                except ValueError as error:
                    wrong[row] = f"{error}"
                    continue
                group = found.setdefault(key, _Group([], []))
                if begin <= head_bytes:
                    known[head] = group, begin
            group.rows.append(row)
            group.values.append(value[begin:])
        return found

    def _framed(self, value: bytes) -> tuple[_Key, int]:
        """Return what reads a record, and where begins what it reads."""
        if len(value) < FRAME_BYTES or value[0]:
            raise ValueError("no schema's id in front: it must begin with 0 and four bytes")
        number = int.from_bytes(value[1:FRAME_BYTES], "big")
        if self._kind == "AVRO":
            return (number, ()), 0
        indexes, begin = protobuf.read_indexes(value, FRAME_BYTES)
        return (number, indexes), begin

    def _read(
        self, key: _Key, group: _Group, wrong: dict[int, str]
    ) -> tuple[Sequence[int], pa.RecordBatch] | None:
        rows, values = group
        try:
            reader = self._reader(key)
        except UnknownSchema:
            wrong |= dict.fromkeys(rows, f"the registry has no schema {key[0]}")
            return None
        except Unreadable as error:
            wrong |= dict.fromkeys(rows, f"schema {key[0]}: {error}")
            return None
        try:
            return rows, reader.strictly(pa.array(values, pa.binary()))
        except Refused:
            reasons = _reasons(reader, values)
        good = [index for index in range(len(values)) if index not in reasons]
        kept, batch = _salvaged(reader, values, good, reasons)
        wrong |= {rows[index]: f"schema {key[0]}: {why}" for index, why in reasons.items()}
        return [rows[index] for index in kept], batch

    def _reader(self, key: _Key) -> Reader:
        if key not in self._readers:
            schema = self._client.schema(key[0])
            if schema.kind != self._kind:
                raise Unreadable(f"it is {schema.kind}, not {self._kind}")
            if len(self._readers) >= READERS_MAX:
                self._readers.clear()
            self._readers[key] = self._made(schema, key[1])
        return self._readers[key]

    def _made(self, schema: Schema, indexes: protobuf.Indexes | None) -> Reader:
        if self._kind == "AVRO":
            return AvroReader(schema)
        file = protobuf.file_of(schema)
        if indexes is None:
            indexes = protobuf.indexes_of(file, self._options.message)
        return protobuf.ProtobufMessages(file, indexes)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _reasons(reader: Reader, values: Sequence[bytes]) -> dict[int, str]:
    found = enumerate(map(reader.reason, values))
    return {index: why for index, why in found if why}


def _salvaged(
    reader: Reader, values: Sequence[bytes], good: Sequence[int], reasons: dict[int, str]
) -> tuple[Sequence[int], pa.RecordBatch]:
    """Read those that look good: together, or one by one where one does not stand that."""
    try:
        return good, reader.strictly(pa.array([values[index] for index in good], pa.binary()))
    except Refused:
        pass
    kept, batches = [], [reader.strictly(pa.array([], pa.binary()))]
    for index in good:
        try:
            batches.append(reader.strictly(pa.array([values[index]], pa.binary())))
            kept.append(index)
        except Refused as refused:
            reasons[index] = f"{refused}"
    return kept, one_batch(pa.Table.from_batches(batches))


def _plain(of: pa.DataType) -> pa.DataType:
    """Return a type that has a name: a map is a list of its pairs."""
    if isinstance(of, pa.MapType):
        return pa.list_(pa.struct([("key", _plain(of.key_type)), ("value", _plain(of.item_type))]))
    if isinstance(of, pa.ListType):
        return pa.list_(_plain(of.value_type))
    if isinstance(of, pa.StructType):
        return pa.struct([(field.name, _plain(field.type)) for field in of])
    return of


def _nulls(count: int, to: pa.Schema) -> pa.RecordBatch:
    columns = [pa.nulls(count, field.type) for field in to]
    return pa.RecordBatch.from_arrays(columns, schema=to)


def _in_order(
    batches: Sequence[pa.RecordBatch], places: Sequence[np.ndarray[Any, Any]], to: pa.Schema
) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches, to)
    if not batches:
        return one_batch(table)
    order = np.argsort(np.concatenate(places), kind="stable")
    return one_batch(table.take(pa.array(order, pa.int64())))


def _shown(value: bytes | None) -> str:
    """Return a record as text that it can be made of again."""
    return base64.b64encode(value or b"").decode()


def reading_of(
    options: ReadRegistry | None, file_format: str, context: Context
) -> RegistryReading | None:
    """Return what reads the records of a format, if their schemas are in a registry."""
    if options is None:
        return None
    return RegistryReading(Client(options, context), options, file_format)
