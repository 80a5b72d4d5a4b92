"""Which way records go between the driver and columns: in C where that is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog

from dataflow.connectors.kafka.fetched import Wanted
from dataflow.connectors.kafka.fetching import ClientFetching, Fetching
from dataflow.connectors.kafka.producing import ClientProducing, Producing

log = structlog.get_logger()


class Way(NamedTuple):
    """How consumers and producers are made, from their settings."""

    fetching: Callable[[Mapping[str, Any], Wanted], Fetching]
    producing: Callable[[Mapping[str, Any], str], Producing]


CLIENT = Way(ClientFetching, ClientProducing)
NATIVE: Way | None = None

try:
    from dataflow.connectors.kafka.native_way import NativeFetching, NativeProducing
except ImportError as error:
    log.info("records of Kafka go through Python's client, which takes longer", why=str(error))
else:
    NATIVE = Way(NativeFetching, NativeProducing)

BEST = NATIVE or CLIENT
