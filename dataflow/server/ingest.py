"""Pushed records: from a body to the ingest log, without ever being taken apart here."""

from __future__ import annotations

import json
import re

from dataflow.core.errors import Invalid, Problem, Rejected
from dataflow.core.ids import COMMAND_ID_LENGTH_MAX
from dataflow.server.backend import Backend
from dataflow.server.commands import known
from dataflow.v1 import pipeline_pb2
from dataflow.wire.json import loads
from dataflow.wire.json_read import kind, unknown_field

JSON = "application/json"
NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"

CONTENT_TYPES = {
    "": JSON,
    JSON: JSON,
    "application/x-www-form-urlencoded": JSON,  # what curl -d says of any body
    NDJSON: NDJSON,
    "application/ndjson": NDJSON,
    "application/jsonl": NDJSON,
    ARROW: ARROW,
}
"""What a body may be called over HTTP, and what it then is."""

_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_ENVELOPE = re.compile(
    rb'\s*\{\s*(?:"batchId"\s*:\s*(?P<before>' + _TEXT + rb')\s*,\s*)?"records"\s*:\s*(?=\[)'
)
_END = re.compile(rb'\]\s*(?:,\s*"batchId"\s*:\s*(?P<after>' + _TEXT + rb")\s*)?\}\s*$")
_SMALL_BYTES = 16 << 10
"""Reading so much was measured at 0.6 ms."""

_SLOW_BYTES_MAX = 1 << 20
"""Reading so much as a whole was measured at 40 ms, in which nobody else is served."""

_END_BYTES = 1024
"""Where the end of an envelope is looked for: a batch id and some white space."""


async def ingest_batch(
    backend: Backend, request: pipeline_pb2.IngestBatchRequest, made_up: str
) -> pipeline_pb2.IngestBatchResponse:
    """Push the batch of one message.

    Raises:
        Rejected: the request is wrong, or a record does not fit.
        Unavailable: the log is full; ``retry_after`` says when to try again.
    """
    if request.content_type not in {JSON, NDJSON, ARROW}:
        raise Rejected(f"use {JSON}, {NDJSON} or {ARROW}", field="contentType")
    batch = request.batch_id or made_up
    return await push(backend, request.pipeline_id, batch, (request.content_type, request.records))


async def push(
    backend: Backend, pipeline: str, batch: str, body: tuple[str, bytes]
) -> pipeline_pb2.IngestBatchResponse:
    """Push a batch, given its content type and its bytes; raises as ``ingest_batch`` does."""
    if len(batch) > COMMAND_ID_LENGTH_MAX or not batch.isprintable():
        raise Rejected(f"use 1 to {COMMAND_ID_LENGTH_MAX} printable characters", field="batchId")
    done = await backend.ingest(known(pipeline), batch, *body)
    return pipeline_pb2.IngestBatchResponse(
        pipeline_id=pipeline,
        batch_id=batch,
        records=done.records,
        first_offset=done.first_offset,
        duplicate=done.duplicate,
    )


def unwrap(body: bytes) -> tuple[str, bytes]:
    """Return batch id and records of ``{"batchId": …, "records": […]}``, the records as they stand.

    The envelope is cut off at both ends, so that a body of megabytes holds nobody up: whether
    what is between is an array of objects is judged where it is parsed. A small body, and one
    that does not look like an envelope, is also read as a whole, for a good error.

    Raises:
        Invalid: it is no such object.
    """
    if len(body) <= _SMALL_BYTES:
        _unwrap_slowly(body)
    head = _ENVELOPE.match(body)
    tail = _END.search(body, max(head.end() if head else 0, len(body) - _END_BYTES))
    if head and tail and not (head["before"] and tail["after"]):
        quoted = head["before"] or tail["after"]
        batch = loads(quoted) if quoted else ""
        return str(batch), body[head.end() : tail.start() + 1]
    return _unwrap_slowly(body)


def _unwrap_slowly(body: bytes) -> tuple[str, bytes]:
    if len(body) > _SLOW_BYTES_MAX:
        raise Invalid([Problem("", 'expected {"batchId": "…", "records": […]} and nothing else')])
    value = loads(body)
    if not isinstance(value, dict):
        raise Invalid([Problem("", f"expected {{batchId, records[]}}, not {kind(value)}")])
    known_fields = ("batchId", "records")
    problems = [Problem(k, unknown_field(k, known_fields)) for k in value if k not in known_fields]
    batch, records = value.get("batchId", ""), value.get("records")
    if not isinstance(batch, str):
        problems.append(Problem("batchId", f"expected a text, not {kind(batch)}"))
    if not isinstance(records, list):
        what = "missing; give a list of objects" if records is None else "expected a list"
        problems.append(Problem("records", what))
    if problems:
        raise Invalid(problems)
    # orjson would refuse whole numbers of more than 64 bits, which the parser names by record.
    return batch, json.dumps(records, ensure_ascii=False).encode()
