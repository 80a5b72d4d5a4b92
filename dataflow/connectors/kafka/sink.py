"""The ``kafka`` sink: a transaction a checkpoint, which holds the rows and their decision.

    recover   init_transactions (fences and aborts a former run), read, claim
    write     produce, while the rows of the next write become records
    commit    the decision into the group's offsets, commit_transaction

A producer whose outcome is not clear is thrown away: the next run's ``recover`` finds out.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import structlog
from confluent_kafka import KafkaException, Producer

from dataflow.connect import (
    Checkpoint,
    Context,
    Corrupted,
    Fenced,
    SinkStep,
    Task,
    TransactionalSink,
    Unavailable,
    decision_held,
)
from dataflow.connect.batches import refusals
from dataflow.connectors.kafka import way
from dataflow.connectors.kafka.calls import Calls
from dataflow.connectors.kafka.connection import settings
from dataflow.connectors.kafka.decisions import Claimed, Decisions
from dataflow.connectors.kafka.errors import (
    UNKNOWN,
    Heard,
    error_of,
    is_fenced,
    is_passing,
    translated,
)
from dataflow.connectors.kafka.producing import Producing, producer_settings
from dataflow.connectors.kafka.records import Encoder, Records
from dataflow.connectors.kafka.repeating import RepeatingKafkaSink
from dataflow.connectors.kafka.sink_spec import KafkaSinkOptions
from dataflow.connectors.kafka.target import Limits, require_topic

ANSWER_S = 20.0
"""How long one request waits for the brokers; a broker that starts again takes ten."""

CALL_S_MAX, CLOSE_S_MAX = 30.0, 10.0
"""After which a call is given up that should have given up itself."""

AGAIN_S = 0.2
"""Between two tries of what the brokers were not ready for."""

KEPT = timedelta(days=7)
"""How long brokers keep the offsets of a group that nobody writes to, unless they are told
otherwise (``offsets.retention.minutes``)."""

log = structlog.get_logger()

Result = TypeVar("Result")


class KafkaSink(TransactionalSink):
    """Writes to one topic; its calls never overlap."""

    def __init__(self, step: SinkStep, options: KafkaSinkOptions, context: Context) -> None:
        self._options = options
        self._probe = context.probe
        self._clock = context.clock
        self._settings = settings(step.connection_string, options.security, context)
        self._topic = options.topic
        self._what = f"topic {options.topic} at {self._settings['bootstrap.servers']}"
        self._encoder = Encoder(options, context)
        self._heard = Heard()
        self._encoding, self._calls = Calls("kafka-sink-encoding"), Calls("kafka-sink")
        self._giving: asyncio.Future[None] | None = None
        """Queues the rows of the last write; what it raises, the next call does."""
        self._producer: Producer | None = None
        self._producing: Producing | None = None
        self._decisions: Decisions | None = None
        self._task: Task | None = None
        self._is_open = False
        """Whether a transaction is."""
        self._limits = Limits()

    async def recover(self, task: Task, seed: Checkpoint) -> Checkpoint:
        """See ``TransactionalSink``."""
        self._task = task
        self._calls.require_room(self._what)
        return await self._call(partial(self._recover, task, seed), CALL_S_MAX)

    async def write(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        """See ``TransactionalSink``; refused is what is larger than the topic takes."""
        if not batch.num_rows:
            return None
        now_ms = round(self._clock.now().timestamp() * 1000)
        encode = partial(self._encoder.taken, batch, self._limits, now_ms)
        # As long as it takes: a batch has a time limit of the pipeline's.
        records, sizes, wrong = await self._encoding.make(encode, math.inf, self._what)
        await self._given()
        self._giving = self._calls.begin(partial(self._give, records, sizes))
        return refusals(wrong) if wrong else None

    async def _given(self) -> None:
        """Wait until the rows of every write are queued."""
        giving, self._giving = self._giving, None
        if giving is not None:
            await giving

    async def commit(self, decision: Checkpoint) -> None:
        """See ``TransactionalSink``."""
        try:
            async with asyncio.timeout(CALL_S_MAX):
                await self._given()
        except TimeoutError:
            message = f"{self._what}: rows were not queued within {CALL_S_MAX:g} s"
            raise Unavailable(message) from None
        await self._call(partial(self._commit, decision), CALL_S_MAX, UNKNOWN)

    async def close(self) -> None:
        """See ``TransactionalSink``."""
        giving, self._giving = self._giving, None
        if giving is not None and not giving.cancel():
            giving.exception()  # The run has ended already, and not by it.
        for calls, end in ((self._encoding, self._encoder.close), (self._calls, self._close)):
            with suppress(Unavailable):  # What never comes back is left behind, as its sink is.
                await calls.make(end, CLOSE_S_MAX, self._what)

    async def _call(self, call: Callable[[], Result], limit_s: float, code: str = "") -> Result:
        return await self._calls.make(call, limit_s, self._what, code)

    # --- in a thread -----------------------------------------------------------------------------

    def _recover(self, task: Task, seed: Checkpoint) -> Checkpoint:
        name = f"{self._options.id_prefix}.{task.pipeline}.{task.index}"
        timeout_ms = round(self._options.transaction_timeout.total_seconds() * 1000)
        with self._translating(f"beginning transactions, {self._what}"):
            given = {**self._settings, "error_cb": self._heard}
            self._limits = limits = require_topic(given, self._options, ANSWER_S)
            self._producing = way.BEST.producing(
                {
                    **self._settings,
                    **producer_settings(self._options, limits, self._heard),
                    "transactional.id": name,
                    "transaction.timeout.ms": timeout_ms,
                },
                self._topic,
            )
            self._producer = producer = self._producing.producer
            self._again(lambda: producer.init_transactions(ANSWER_S))
            self._probe("kafka.initialised")
            self._decisions = Decisions(self._settings, self._topic, name, ANSWER_S)
            held = self._held(self._stored(self._decisions, seed), task, seed)
            self._begin()
            self._finish(Claimed(task.run, held))
            self._probe("kafka.claimed")
        return held

    def _stored(self, decisions: Decisions, seed: Checkpoint) -> Claimed | None:
        """Return what the group holds.

        Raises:
            Corrupted: it has lost a decision; the register may not know the last one.
        """
        stored = self._again(decisions.read)
        if stored is None and seed.seeded:
            if seed.decided_at is None or self._clock.now() - seed.decided_at < KEPT:
                raise Corrupted(
                    f"{self._what}: group {decisions.group} has lost decision {seed.stamp.number}:"
                    " the group or the topic was deleted, or idPrefix is another one. Undo that, or"
                    " replay the pipeline"
                )
            log.warning("the group has forgotten its decision", sink=self._what, goes_on=seed.stamp)
        return stored

    def _held(self, stored: Claimed | None, task: Task, seed: Checkpoint) -> Checkpoint:
        if stored is None:
            return seed
        if stored.run > task.run:
            raise Fenced(f"{self._what}: run {stored.run} has claimed it")
        return decision_held(stored.decision, seed)

    def _give(self, records: Records, sizes: pa.Array[Any]) -> None:
        with self._translating(f"writing, {self._what}"):
            self._begin()
            if self._producing is not None:
                self._producing.give(records, sizes)

    def _commit(self, decision: Checkpoint) -> None:
        if self._task is None:
            raise RuntimeError("recover comes before anything else")
        self._begin_or_raise()
        with self._translating(f"committing, {self._what}", UNKNOWN):
            self._finish(Claimed(self._task.run, decision))

    def _begin_or_raise(self) -> None:
        with self._translating(f"beginning a transaction, {self._what}"):
            self._begin()

    def _begin(self) -> None:
        if not self._is_open:
            self._opened.begin_transaction()
            self._is_open = True

    def _finish(self, claimed: Claimed) -> None:
        """Commit the open transaction, with a decision."""
        decisions, producer = self._decisions, self._opened
        if decisions is None:
            raise RuntimeError("recover comes before anything else")
        self._again(lambda: decisions.put(producer, claimed))
        self._probe("kafka.decision sent")
        self._again(lambda: producer.commit_transaction(ANSWER_S))
        self._is_open = False
        self._heard.forget()
        self._probe("kafka.committed")

    def _again(self, request: Callable[[], Result]) -> Result:
        """Make a request of the transaction's coordinator until it is answered, within limits."""
        ends_s = self._clock.steady() + ANSWER_S
        while True:
            try:
                return request()
            except KafkaException as raised:
                if not is_passing(error_of(raised)) or self._clock.steady() > ends_s:
                    raise
                time.sleep(AGAIN_S)

    @property
    def _opened(self) -> Producer:
        if self._producer is None:
            raise Unavailable(f"{self._what}: its transaction has failed")
        return self._producer

    def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with suppress(KafkaException):  # The next run aborts what could not be.
            if self._is_open:
                producer.abort_transaction(ANSWER_S)
        self._is_open = False

    # --- what goes wrong -------------------------------------------------------------------------

    @contextmanager
    def _translating(self, what: str, code: str = "") -> Iterator[None]:
        """Turn the driver's errors into the engine's; the producer is gone then."""
        try:
            yield
        except KafkaException as raised:
            raise self._failed(raised, what, code) from raised

    def _failed(self, raised: KafkaException, what: str, code: str) -> Exception:
        """Throw the producer away; return the error that the engine is told."""
        if self._producing is not None and self._producing.failure is not None:
            raised = KafkaException(self._producing.failure)
        error = error_of(raised)
        producer, self._producer = self._producer, None
        self._is_open = False
        if producer is not None:
            with suppress(KafkaException):  # the same one again, where it is final
                producer.poll(0)  # It tells what it has heard within its calls alone.
            producer.purge(blocking=False)
        if is_fenced(error):
            return self._fenced(what)
        return translated(raised, what, self._heard, code)

    def _fenced(self, what: str) -> Exception:
        """Tell whether a larger run has taken over, or a smaller one came in between."""
        if self._decisions is None or self._task is None:
            return Unavailable(f"{what}: another producer has the transactional id")
        try:
            stored = self._again(self._decisions.read)
        except KafkaException as raised:
            return translated(raised, what, self._heard)
        if stored is not None and stored.run > self._task.run:
            return Fenced(f"{what}: run {stored.run} has claimed it")
        return Unavailable(f"{what}: the transaction took too long, or another producer came in")


def open_sink(
    step: SinkStep, options: KafkaSinkOptions, context: Context
) -> KafkaSink | RepeatingKafkaSink:
    """Return the sink of a step."""
    if options.delivery == "at-least-once":
        return RepeatingKafkaSink(step, options, context)
    return KafkaSink(step, options, context)
