"""The OpenAPI 3.1 document, made from the routes, the messages and the comments of proto/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dataflow.server.call import ACTOR_KEY, COMMAND_KEY
from dataflow.server.comments import read_comments
from dataflow.server.errors import EDGE, TABLE
from dataflow.server.ingest import ARROW, JSON, NDJSON
from dataflow.server.routes import Route
from dataflow.server.schemas import Schema, Schemas
from dataflow.v1 import pipeline_pb2

VERSION = "v1"
"""Of the API: what its paths begin with."""

ERROR: Schema = {
    "type": "object",
    "required": ["error", "message", "details", "timestamp"],
    "properties": {
        "error": {
            "type": "string",
            "description": "Stable, for programs.",
            "enum": sorted({*map(str, TABLE), *EDGE}),
        },
        "message": {"type": "string", "description": "For people."},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
            "description": "What is wrong, and where.",
        },
        "timestamp": {"type": "string", "format": "date-time"},
    },
}

BATCH: Schema = {
    "type": "object",
    "required": ["records"],
    "additionalProperties": False,
    "properties": {
        "batchId": {"type": "string"},
        "records": {"type": "array", "items": {"type": "object"}},
    },
}

PLAIN = {
    "/health": "The process lives.",
    "/ready": "Requests are welcome; 503 until then.",
    "/metrics": "Metrics for Prometheus.",
    "/openapi.json": "This document.",
    "/docs": "This document, to read and to try.",
}


def describe(routes: Iterable[Route], options: Mapping[str, Any]) -> Schema:
    """Return the document.

    Args:
        routes: what is served.
        options: the JSON schema of each connector's options, by names such as ``file source``.
    """
    comments = read_comments()
    schemas = Schemas(comments, options)
    paths: dict[str, Schema] = {}
    for route in routes:
        operations = paths.setdefault(route.shown_path, {})
        operations[route.verb.lower()] = _operation(route, schemas, comments)
    for path, summary in PLAIN.items():
        answer = {"summary": summary, "responses": {"200": {"description": summary}}}
        paths[path] = {"get": {**answer, "operationId": path.strip("/"), "tags": ["server"]}}
    watch = pipeline_pb2.DESCRIPTOR.message_types_by_name["WatchPipelinesResponse"]
    schemas.reference(watch)
    schemas.components["Error"] = ERROR
    schemas.components["Batch"] = BATCH
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "DataFlow Platform",
            "version": VERSION,
            "description": "Make, run, change and watch pipelines. Changes also come by WebSocket"
            " from /api/v1/ws/pipelines and /api/v1/ws/pipelines/{pipelineId}:"
            f" each text is a {watch.name}.",
        },
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.components.items()))},
    }


def _operation(route: Route, schemas: Schemas, comments: Mapping[str, str]) -> Schema:
    rpc = route.rpc
    parameters = [_parameter(route, name, "path", schemas) for name in route.parameters]
    operation: Schema = {
        "operationId": rpc.name,
        "tags": [rpc.descriptor.containing_service.name],
        "summary": comments.get(rpc.descriptor.full_name, rpc.name),
        "parameters": parameters,
        "responses": {
            str(int(route.status)): {
                "description": route.status.phrase,
                "content": _json(schemas.reference(rpc.descriptor.output_type)),
            },
            "default": {
                "description": "What was wrong, and what would be right.",
                "content": _json({"$ref": "#/components/schemas/Error"}),
            },
        },
    }
    fields = rpc.request.DESCRIPTOR.fields_by_name
    if "command_id" in fields or "batch_id" in fields:
        parameters += [_header(COMMAND_KEY), _header(ACTOR_KEY)]
    if rpc.name == "IngestBatch":
        parameters.append(_parameter(route, "batch_id", "query", schemas))
        operation["requestBody"] = _batch()
    elif route.has_body:
        body = schemas.reference(rpc.descriptor.input_type)
        operation["requestBody"] = {"content": _json(body)}
    else:
        others = [name for name in fields if name not in route.parameters]
        parameters += [_parameter(route, name, "query", schemas) for name in others]
    return operation


def _parameter(route: Route, name: str, place: str, schemas: Schemas) -> Schema:
    entry = route.rpc.descriptor.input_type.fields_by_name[name]
    schema = schemas.field(entry)
    parameter: Schema = {"name": entry.json_name, "in": place, "schema": schema}
    if "description" in schema:
        parameter["description"] = schema.pop("description")
    if place == "path":
        parameter["required"] = True
    return parameter


def _header(name: str) -> Schema:
    said = {
        COMMAND_KEY: "The command id, where the request has none.",
        ACTOR_KEY: "Who asks, for the audit trail; anonymous where absent.",
    }
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": said[name]}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _batch() -> Schema:
    content: Schema = {
        JSON: {"schema": {"$ref": "#/components/schemas/Batch"}},
        NDJSON: {"schema": {"type": "string", "description": "One JSON object a line."}},
        ARROW: {"schema": {"type": "string", "format": "binary"}},
    }
    return {"required": True, "content": content}
