"""The ``kafka`` sink without transactions: rows of a checkpoint that failed come again.

    write   produce
    flush   every record is acknowledged; the engine decides AFTER it, in its register

The driver numbers its records, so that none of one run is there twice or out of order because an
acknowledgement was lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import pyarrow as pa
from confluent_kafka import KafkaException

from dataflow.connect import AtLeastOnceSink, Context, SinkStep, Task, Unavailable
from dataflow.connect.batches import refusals
from dataflow.connectors.kafka import way
from dataflow.connectors.kafka.calls import Calls
from dataflow.connectors.kafka.connection import settings
from dataflow.connectors.kafka.errors import Heard, translated
from dataflow.connectors.kafka.producing import DRAIN_S, Producing, producer_settings
from dataflow.connectors.kafka.records import Encoder
from dataflow.connectors.kafka.sink_spec import KafkaSinkOptions
from dataflow.connectors.kafka.target import Limits, require_topic

ANSWER_S = 20.0
"""How long one request waits for the brokers; a broker that starts again takes ten."""

OPEN_S_MAX, CLOSE_S_MAX = 45.0, 10.0
"""After which a call is given up that should have given up itself."""

DELIVERED_MS_MAX = 60_000
"""How long a record may take from the queue to its acknowledgement; then its run has failed. The
driver's own, of five minutes, would hold a checkpoint for as long."""

Result = TypeVar("Result")


class RepeatingKafkaSink(AtLeastOnceSink):
    """Writes to one topic; its calls never overlap."""

    def __init__(self, step: SinkStep, options: KafkaSinkOptions, context: Context) -> None:
        self._options = options
        self._clock = context.clock
        self._probe = context.probe
        self._settings = settings(step.connection_string, options.security, context)
        self._what = f"topic {options.topic} at {self._settings['bootstrap.servers']}"
        self._encoder = Encoder(options, context)
        self._heard = Heard()
        self._calls = Calls("kafka-sink")
        self._producing: Producing | None = None
        self._limits = Limits()

    async def open(self, task: Task) -> None:  # noqa: ARG002 - nobody else is kept out
        """See ``AtLeastOnceSink``."""
        self._calls.require_room(self._what)
        await self._call(self._open, OPEN_S_MAX)

    async def write(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        """See ``AtLeastOnceSink``; refused is what the topic does not take."""
        if not batch.num_rows:
            return None
        # As long as it takes: a batch has a time limit of the pipeline's.
        return await self._call(partial(self._write, batch), math.inf)

    async def flush(self) -> None:
        """See ``AtLeastOnceSink``."""
        await self._call(self._flush, math.inf)  # The driver gives records up in time.
        self._probe("kafka.flushed")

    async def close(self) -> None:
        """See ``AtLeastOnceSink``; what is not flushed is given up."""
        with suppress(Unavailable):  # What never comes back is left behind, as its sink is.
            await self._calls.make(self._close, CLOSE_S_MAX, self._what)

    async def _call(self, call: Callable[[], Result], limit_s: float) -> Result:
        try:
            return await self._calls.make(call, limit_s, self._what)
        except KafkaException as raised:
            what = f"writing, {self._what}"
            raise translated(self._first_of(raised), what, self._heard) from raised

    def _first_of(self, raised: KafkaException) -> KafkaException:
        """Return why the first record was given up: what is raised may only follow from it."""
        if self._producing is None:
            return raised
        self._producing.producer.poll(0)  # It tells what it has heard within its calls alone.
        failure = self._producing.failure
        return raised if failure is None else KafkaException(failure)

    # --- in a thread -----------------------------------------------------------------------------

    def _open(self) -> None:
        given = {**self._settings, "error_cb": self._heard}
        self._limits = limits = require_topic(given, self._options, ANSWER_S)
        self._producing = way.BEST.producing(
            {
                **self._settings,
                **producer_settings(self._options, limits, self._heard),
                "enable.idempotence": True,
                "message.timeout.ms": DELIVERED_MS_MAX,
            },
            self._options.topic,
        )

    @property
    def _opened(self) -> Producing:
        if self._producing is None:
            raise RuntimeError("open comes before anything else")
        return self._producing

    def _write(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        now_ms = round(self._clock.now().timestamp() * 1000)
        records, sizes, wrong = self._encoder.taken(batch, self._limits, now_ms)
        self._opened.give(records, sizes)
        return refusals(wrong) if wrong else None

    def _flush(self) -> None:
        """Wait until every record is acknowledged, or one was given up."""
        producing = self._opened
        while producing.producer.flush(DRAIN_S) and producing.failure is None:
            pass
        if producing.failure is not None:
            raise KafkaException(producing.failure)
        self._heard.forget()

    def _close(self) -> None:
        self._encoder.close()
        if self._producing is not None:
            with suppress(KafkaException):
                self._producing.producer.purge(blocking=False)
                self._producing.producer.poll(0)
