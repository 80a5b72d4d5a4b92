"""The driver's session, as the event loop sees it.

    event loop                                   the driver's thread (libev)
    run, conditionally --execute_async-->        sends, receives, decodes
              <------- call_soon_threadsafe -----  callback

The driver finds the connection, encodes and sends on the caller's thread and never waits there;
everything is prepared before the first request, for that would wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any, Self, TypeAlias

from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.cluster import Session as DriverSession
from cassandra.io.libevreactor import LibevConnection
from cassandra.policies import (
    ConstantReconnectionPolicy,
    DCAwareRoundRobinPolicy,
    FallthroughRetryPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)
from cassandra.query import (
    BatchStatement,
    BatchType,
    PreparedStatement,
    Statement,
    dict_factory,
    tuple_factory,
)

from dataflow.core.errors import DataFlowError, Unavailable
from dataflow.journal.cassandra.errors import is_busy, translate
from dataflow.journal.cassandra.options import Options

Values: TypeAlias = tuple[Any, ...]
Row: TypeAlias = Mapping[str, Any]

WRITES_AT_ONCE = 8
"""Of a node's shards. A conditional write costs the server 1.2 ms of CPU, an event in it 0.03:
with eight at once the others gather (256 callers over 16 shards: 16 events a write and not 9, for
two thirds of the processor)."""

CONDITIONAL_IN_FLIGHT_MAX = 32
"""Of a node. More makes no more of them a second, only each one slower (measured: the servers'
processors are full at 32); what waits gathers."""

PROTOCOL_VERSION = 5
"""Of Cassandra 4.0 and newer; its frames carry checksums."""

RECONNECT_S = 0.5
"""Between attempts to reach a server that is down: the driver's own back-off grows to minutes."""

HEARTBEAT_S, HEARTBEAT_S_MAX = 2, 8
"""How often an idle connection is tried, and how long that may take: a frozen server is passed over
after the sum, and one that collects garbage is not."""

CONNECT_S_MAX = 10
"""A server that compiles its first requests, on a busy machine, takes some seconds."""

AGREEMENT_S_MAX = 60
"""Servers tell each other of a new table within a second; three on two busy cores took over ten."""

BUSY_S_FIRST, BUSY_ATTEMPTS = 0.005, 8
"""0.6 s in all, by which time 32 writes have long been answered."""

PLAIN, CONDITIONAL = EXEC_PROFILE_DEFAULT, "conditional"


class Session:
    """Runs named statements. ``connect`` and ``close`` may be called once each."""

    def __init__(
        self,
        options: Options,
        cluster: Cluster,
        session: DriverSession,
        statements: Mapping[str, PreparedStatement],
    ) -> None:
        """Take over what ``connect`` has opened."""
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._cluster = cluster
        self._session = session
        self._statements = statements
        self._gate = asyncio.Semaphore(CONDITIONAL_IN_FLIGHT_MAX)
        self._timeout_s = options.timeout.total_seconds()
        self.closed = False

    def __str__(self) -> str:
        """Return where it is, for an error's reader."""
        points = ", ".join(self._options.contact_points)
        return f"keyspace {self._options.keyspace} of Cassandra at {points}"

    @classmethod
    async def connect(
        cls,
        options: Options,
        statements: Mapping[str, str],
        prepare: Callable[[Cluster, DriverSession], None],
        serial: Collection[str] = (),
    ) -> Self:
        """Connect, have the tables prepared, then prepare every statement.

        Args:
            options: where, and what of it.
            statements: by name.
            prepare: makes the tables that the statements need.
            serial: the names of those that read at SERIAL.

        Raises:
            Rejected: the options, or the servers' settings, are not right.
            Unavailable: no server can be reached.
        """
        options.check()
        opened = await asyncio.to_thread(_open, options, statements, prepare)
        for name in serial:
            opened[2][name].consistency_level = ConsistencyLevel.SERIAL
        return cls(options, *opened)

    async def run(self, name: str, *values: object) -> Sequence[Values]:
        """Run a statement that may be run twice, and return its rows."""
        return await self._run(self._statements[name].bind(values))

    async def run_all(self, given: Sequence[tuple[str, Values]]) -> None:
        """Run writes that may be run twice in one request; atomic in each partition alone."""
        await self._run(self._batch(given))

    async def conditionally(self, name: str, *values: object) -> Row:
        """Run a conditional statement; ``[applied]`` says what came of it.

        Raises:
            Unavailable: with code ``OUTCOME_UNKNOWN`` after whatever error may have followed it.
        """
        return await self._conditionally(self._statements[name].bind(values))

    async def conditionally_all(self, given: Sequence[tuple[str, Values]]) -> Row:
        """Run a conditional batch on one partition; raises what ``conditionally`` raises."""
        return await self._conditionally(self._batch(given))

    async def close(self) -> None:
        """Close every connection; requests under way fail."""
        if not self.closed:
            self.closed = True
            await asyncio.to_thread(self._cluster.shutdown)

    def _batch(self, given: Sequence[tuple[str, Values]]) -> BatchStatement:
        batch = BatchStatement(BatchType.UNLOGGED)
        for name, values in given:
            batch.add(self._statements[name].bind(values))
        return batch

    async def _run(self, statement: Statement) -> Sequence[Values]:
        try:
            return await self._answer(statement, PLAIN) or ()
        except _DriverError as failed:
            raise translate(failed.error, str(self)) from failed.error

    async def _conditionally(self, statement: Statement) -> Row:
        async with self._gate:
            try:
                (row,) = await self._answer(statement, CONDITIONAL)
            except _DriverError as failed:
                raise translate(failed.error, str(self), conditional=True) from failed.error
        return row  # type: ignore[no-any-return]  # the driver has no types

    async def _answer(self, statement: Statement, profile: object) -> Any:  # noqa: ANN401 - as above
        """Send a statement, again while every connection is full, and return its rows."""
        for attempt in range(BUSY_ATTEMPTS):
            try:
                return await self._send(statement, profile)
            except _DriverError as failed:
                if not is_busy(failed.error) or attempt == BUSY_ATTEMPTS - 1:
                    raise
            await asyncio.sleep(BUSY_S_FIRST * 2**attempt)
        raise AssertionError

    def _send(self, statement: Statement, profile: object) -> asyncio.Future[Any]:
        if self.closed:
            raise Unavailable(f"{self} is closed")
        answer: asyncio.Future[Any] = self._loop.create_future()
        response = self._session.execute_async(
            statement, execution_profile=profile, timeout=self._timeout_s
        )
        response.add_callbacks(partial(self._tell, answer), partial(self._tell_failure, answer))
        return answer

    # --- the driver's thread ---------------------------------------------------------------------

    def _tell(self, answer: asyncio.Future[Any], rows: object) -> None:
        try:
            self._loop.call_soon_threadsafe(_set, answer, rows)
        except RuntimeError:
            return  # The loop is gone, and with it everyone who could be told.

    def _tell_failure(self, answer: asyncio.Future[Any], error: BaseException) -> None:
        try:
            self._loop.call_soon_threadsafe(_fail, answer, error)
        except RuntimeError:
            return


class _DriverError(Exception):
    """Carries whatever the driver handed to a callback to where it is translated."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _set(answer: asyncio.Future[Any], rows: object) -> None:
    if not answer.done():
        answer.set_result(rows)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(_DriverError(error))


def _open(
    options: Options,
    statements: Mapping[str, str],
    prepare: Callable[[Cluster, DriverSession], None],
) -> tuple[Cluster, DriverSession, Mapping[str, PreparedStatement]]:
    cluster = _cluster(options)
    try:
        session = cluster.connect(wait_for_all_pools=True)
        prepare(cluster, session)
        prepared = {name: session.prepare(text) for name, text in statements.items()}
    except DataFlowError:
        cluster.shutdown()
        raise
    except Exception as error:
        cluster.shutdown()
        raise translate(error, ", ".join(options.contact_points)) from error
    return cluster, session, prepared


def _cluster(options: Options) -> Cluster:
    # 44 ms a write of more than 4 KiB without it: the server waits to acknowledge the first part.
    no_delay = [(IPPROTO_TCP, TCP_NODELAY, 1)]
    shared = {
        "load_balancing_policy": TokenAwarePolicy(DCAwareRoundRobinPolicy()),
        "consistency_level": ConsistencyLevel.QUORUM,
        "serial_consistency_level": ConsistencyLevel.SERIAL,
        "request_timeout": options.timeout.total_seconds(),
    }
    # A conditional write is sent once: whether it may be repeated is its caller's to say.
    once = FallthroughRetryPolicy()
    profiles = {
        PLAIN: ExecutionProfile(retry_policy=RetryPolicy(), row_factory=tuple_factory, **shared),
        CONDITIONAL: ExecutionProfile(retry_policy=once, row_factory=dict_factory, **shared),
    }
    return Cluster(
        options.endpoints,
        protocol_version=PROTOCOL_VERSION,
        connection_class=LibevConnection,
        sockopts=no_delay,
        compression=False,
        execution_profiles=profiles,
        reconnection_policy=ConstantReconnectionPolicy(RECONNECT_S, max_attempts=None),
        idle_heartbeat_interval=HEARTBEAT_S,
        idle_heartbeat_timeout=HEARTBEAT_S_MAX,
        connect_timeout=CONNECT_S_MAX,
        control_connection_timeout=CONNECT_S_MAX,
        max_schema_agreement_wait=AGREEMENT_S_MAX,
        schema_event_refresh_window=-1,  # whoever changes a keyspace restarts what uses it
    )
