"""A service that answers with JSON as a lookup."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import orjson
import pyarrow as pa

from dataflow.connect import Answer, Context, Lookup, Wanted
from dataflow.connectors.http.asking import Asking, Refused
from dataflow.connectors.http.lookup_spec import PLACE, HttpLookupOptions

Key = Mapping[str, object]
Known = Mapping[str, Any] | None | Refused
"""An object, nothing, or why not."""


def open_lookup(options: HttpLookupOptions, wanted: Wanted, context: Context) -> HttpLookup:
    """Return the lookup; nobody is asked yet."""
    return HttpLookup(options, wanted, context)


class HttpLookup(Lookup):
    """Asks with several requests at once, each in a thread."""

    def __init__(self, options: HttpLookupOptions, wanted: Wanted, context: Context) -> None:
        self._options = options
        self._columns = tuple(wanted.columns)
        self._url = context.secret(options.url)
        self._asking = Asking(options, context)
        self._threads = ThreadPoolExecutor(options.concurrency, "http lookup")

    def find(self, keys: pa.RecordBatch) -> Answer:
        """Return what the service knows of some keys."""
        asked = keys.to_pylist()
        size = self._options.batch_size if self._options.method == "POST" else 1
        parts = [asked[at : at + size] for at in range(0, len(asked), size)]
        ask: Callable[[Sequence[Key]], Sequence[Known]] = (
            self._many if self._options.method == "POST" else self._one
        )
        known = [each for part in self._threads.map(ask, parts) for each in part]
        of = [at for at, each in enumerate(known) if isinstance(each, dict)]
        columns = {
            name: pa.array([_text(_at(known[at], name)) for at in of], pa.string())
            for name in self._columns
        }
        errors = {at: str(each) for at, each in enumerate(known) if isinstance(each, Refused)}
        return Answer(pa.record_batch(columns), pa.array(of, pa.int64()), errors)

    def close(self) -> None:
        """Let threads and connections go."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._asking.close()

    def _one(self, keys: Sequence[Key]) -> Sequence[Known]:
        (key,) = keys
        url = PLACE.sub(lambda found: quote(_text(key[found[1]]) or "", safe=""), self._url)
        try:
            body = self._asking.ask("GET", url)
            return [None if body is None else _object(self._inside(body))]
        except Refused as refused:
            return [refused]

    def _many(self, keys: Sequence[Key]) -> Sequence[Known]:
        sent = [{name: _plain(value) for name, value in key.items()} for key in keys]
        try:
            body = self._asking.ask("POST", self._url, sent)
            listed = [None] * len(keys) if body is None else self._inside(body)
            return [_object(each) for each in _as_many(listed, len(keys))]
        except Refused as refused:
            return [refused] * len(keys)

    def _inside(self, body: bytes) -> object:
        try:
            found = orjson.loads(body)
        except ValueError as error:
            raise Refused(f"the answer is no JSON: {error}") from error
        return _at(found, self._options.response_path) if self._options.response_path else found


def _as_many(found: object, keys: int) -> Sequence[object]:
    if isinstance(found, list) and len(found) == keys:
        return found
    raise Refused(f"asked for {keys} keys, the answer is no list of as many")


def _object(found: object) -> Known:
    if found is None or isinstance(found, dict):
        return found
    raise Refused(f"the answer is no object: {orjson.dumps(found).decode():.80}")


def _at(found: Any, path: str) -> object:  # noqa: ANN401 - JSON of any shape
    """Return what is at a path of names with dots; None if nothing is."""
    if isinstance(found, dict) and path in found:
        return found[path]
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    plain = _plain(value)
    return plain if isinstance(plain, str) else orjson.dumps(plain).decode()


def _plain(value: object) -> object:
    """Return a key as JSON can say it."""
    return value if isinstance(value, str | int | float | bool | dict | list | None) else str(value)
