"""Who may write, and what was decided: one row a task, in the database that holds the rows."""

from __future__ import annotations

from hashlib import blake2b

from asyncpg import Connection, Record

from dataflow.connect import (
    Checkpoint,
    Fenced,
    Stamp,
    Task,
    decision_from,
    decision_held,
    decision_text,
)
from dataflow.connectors.postgres.names import quoted
from dataflow.connectors.postgres.sink_spec import TableName
from dataflow.connectors.postgres.statements import load
from dataflow.connectors.postgres.tables import one_at_a_time

DECISIONS = "dataflow_decisions"

SHOWN_MAX = 16
"""Characters of a pipeline's id in a session's name, which has 63 bytes: the digest tells ids
apart, and a run has 19 digits at most."""


SQL = load("decisions.sql")


def _digest(task: Task) -> str:
    return blake2b(f"{task.pipeline} {task.index}".encode(), digest_size=8).hexdigest()


def session_name(task: Task) -> str:
    """Return how the sessions of a run are called, so that a later run finds them."""
    return f"dataflow {task.pipeline[:SHOWN_MAX]} {_digest(task)} {task.run}"


class Decisions:
    """The decision of one task. Its caller begins and ends the transactions."""

    def __init__(self, connection: Connection[Record], schema: str, task: Task) -> None:
        self._connection = connection
        self._schema = schema
        self._table = quoted(TableName(schema, DECISIONS))
        self._sql = {name: text.format(table=self._table) for name, text in SQL.items()}
        self._task = task
        self._key = task.pipeline, task.index

    def by(self, connection: Connection[Record]) -> Decisions:
        """Return the same row by another session."""
        return Decisions(connection, self._schema, self._task)

    async def end_older(self) -> None:
        """End the sessions of older runs: what they had open is rolled back."""
        pattern = rf"^dataflow \S+ {_digest(self._task)} \d+$"
        await self._connection.fetch(self._sql["end_older"], pattern, self._task.run)

    async def create(self) -> None:
        """Create the table if it is not there."""
        if not await self._connection.fetchval(self._sql["exists"], self._table):
            await one_at_a_time(self._connection, self._table)
            await self._connection.execute(self._sql["create"])

    async def claim(self, seed: Checkpoint) -> Checkpoint:
        """Lock the row, claim it for this run, and return the decision that it holds.

        Raises:
            Fenced: a larger run has claimed it.
        """
        await self._connection.execute(self._sql["insert"], *self._row(seed))
        row = await self._connection.fetchrow(self._sql["held"], *self._key)
        if row is None:
            raise Fenced(f"{self._table}: the row of {self._task.pipeline} was deleted just now")
        if row["claimed"] > self._task.run:
            raise self._fenced(row["claimed"])
        held = decision_held(decision_from(row["decision"]), seed)
        await self._connection.execute(self._sql["claim"], *self._row(held))
        return held

    async def check(self) -> None:
        """Raise ``Fenced`` once another run has claimed: what would follow is for nothing."""
        claimed = await self._connection.fetchval(self._sql["claimed"], *self._key)
        if claimed != self._task.run:
            raise self._fenced(claimed)

    async def decide(self, last: Stamp, decision: Checkpoint) -> None:
        """Replace the decision, if it still is ``last`` and this run's to replace.

        Raises:
            Fenced: it is not.
        """
        new = decision.stamp.run, decision.stamp.number, decision_text(decision)
        old = self._task.run, last.run, last.number
        done = await self._connection.execute(self._sql["decide"], *self._key, *old, *new)
        if done != "UPDATE 1":
            raise self._fenced(None)

    def _row(self, held: Checkpoint) -> tuple[object, ...]:
        stamp, lineage = held.stamp, held.lineage
        claim = lineage, self._task.run, stamp.run, stamp.number
        return *self._key, *claim, decision_text(held)

    def _fenced(self, claimed: int | None) -> Fenced:
        who = f"run {claimed}" if claimed else "another run"
        return Fenced(f"{self._table}: {who} of {self._task.pipeline!r} has taken over")
