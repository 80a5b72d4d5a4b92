"""The Bytewax dataflow with a faster JSON parser than the standard library's."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from bench.peers.run_bytewax import kept, ndjson
from bench.peers.timing import main


def _row(line: str) -> tuple[str, str] | None:
    row: dict[str, Any] = orjson.loads(line)
    return ("", orjson.dumps(row).decode()) if kept(row) else None


if __name__ == "__main__":
    main({"ndjson_etl": partial(ndjson, work=_row)})
