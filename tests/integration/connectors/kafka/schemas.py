"""Schemas in a registry, and records as other clients write and read them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import fastavro
import httpx

PROTO = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
message Address { string city = 1; }
message Order {
  enum Kind { SMALL = 0; LARGE = 1; }
  message Line { int32 count = 1; }
  int64 id = 1;
  optional string note = 2;
  Kind kind = 3;
  repeated Line lines = 4;
  map<string, int64> stock = 5;
  google.protobuf.Timestamp at = 6;
  Address address = 7;
}
"""


def register(url: str, subject: str, schema: object, kind: str = "AVRO") -> int:
    """Register a schema; return its id."""
    text = schema if isinstance(schema, str) else json.dumps(schema)
    body = {"schema": text, "schemaType": kind}
    answer = httpx.post(f"{url}/subjects/{subject}/versions", json=body)
    assert answer.is_success, answer.text
    return int(answer.json()["id"])


def require(url: str, subject: str, compatibility: str) -> None:
    """Have later schemas of a subject go with those before."""
    body = {"compatibility": compatibility}
    assert httpx.put(f"{url}/config/{subject}", json=body).is_success


def record(*fields: tuple[str, Any], **defaults: object) -> dict[str, Any]:
    """Return a schema of Avro."""
    named = [{"name": name, "type": of} for name, of in fields]
    for one in named:
        if one["name"] in defaults:
            one["default"] = defaults[one["name"]]
    return {"type": "record", "name": "Order", "namespace": "shop", "fields": named}


def framed(number: int, schema: Mapping[str, Any], row: Mapping[str, Any]) -> bytes:
    """Return a record as another client writes it."""
    out = io.BytesIO(b"")
    fastavro.schemaless_writer(out, fastavro.parse_schema(dict(schema)), row)
    return b"\0" + number.to_bytes(4, "big") + out.getvalue()


def unframed(url: str, value: bytes | None) -> dict[str, Any]:
    """Return a record as another client reads it, by the schema that it names."""
    return Unframing(url).row(value)


class Unframing:
    """Reads records as another client does, and asks for each schema once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._schemas: dict[int, Any] = {}

    def row(self, value: bytes | None) -> dict[str, Any]:
        """Return a record by the schema that it names."""
        assert value is not None
        assert value[0] == 0
        body = io.BytesIO(value[5:])
        row: Any = fastavro.schemaless_reader(
            body, self._schema(int.from_bytes(value[1:5], "big")), None
        )
        assert not body.read(), "bytes are left behind"
        assert isinstance(row, dict)
        return row

    def _schema(self, number: int) -> Any:  # noqa: ANN401 - what the reader makes of it
        if number not in self._schemas:
            found = httpx.get(f"{self._url}/schemas/ids/{number}").json()
            self._schemas[number] = fastavro.parse_schema(json.loads(found["schema"]))
        return self._schemas[number]
