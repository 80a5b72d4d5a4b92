"""What travels in bulk: commands many a message, batches of records one a message."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import TypeVar

from dataflow.client.errors import from_refusal
from dataflow.core.errors import Code, DataFlowError
from dataflow.v1.pipeline_pb2 import (
    Command,
    CommandAnswer,
    ExecuteRequest,
    ExecuteResponse,
    IngestBatchesRequest,
    IngestBatchesResponse,
    IngestBatchRequest,
    IngestBatchResponse,
)

T = TypeVar("T")

COMMANDS_A_MESSAGE = 500
"""At 150 B a command 75 KB: far below any message limit, and full group commits behind it."""

MESSAGES_IN_FLIGHT = 4
"""Commands: one being written, one answered, two waiting. More gain nothing (the shards commit
in groups by themselves) and grow what is asked again after a broken stream."""

BATCHES_IN_FLIGHT = 8
"""Batches of records: 8 MiB at most in the client's usual size, a few flushes of the server's."""


class Commands:
    """A message of commands, with their answers as they come."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self._commands = commands
        self._answers: dict[int, CommandAnswer] = {}
        self._asked = list(range(len(commands)))

    @property
    def answers(self) -> list[CommandAnswer]:
        """The answers, in the order of the commands; those still refused say so."""
        return [self._answers[index] for index in range(len(self._commands))]

    def request(self) -> ExecuteRequest:
        """Return the commands that have no lasting answer yet."""
        return ExecuteRequest(commands=[self._commands[index] for index in self._asked])

    def settle(self, answer: ExecuteResponse) -> DataFlowError | None:
        """Keep the answers; those that say so are asked again, with the same command ids."""
        if len(answer.answers) != len(self._asked):
            raise DataFlowError(
                f"{len(self._asked)} commands got {len(answer.answers)} answers; the two sides"
                " are not of the same release",
                code=Code.INTERNAL,
            )
        self._answers.update(zip(self._asked, answer.answers, strict=True))
        self._asked = [index for index in self._asked if self._answers[index].refusal.retryable]
        return from_refusal(self._answers[self._asked[0]].refusal) if self._asked else None


class Push:
    """A batch of records, with its answer."""

    def __init__(self, batch: IngestBatchRequest) -> None:
        self._batch = batch
        self._answer = IngestBatchesResponse()

    @property
    def answer(self) -> IngestBatchResponse:
        """The answer.

        Raises:
            DataFlowError: the batch was refused.
        """
        if self._answer.HasField("refusal"):
            refused = from_refusal(self._answer.refusal)
            refused.add_note(f"batch {self._batch.batch_id}")
            raise refused
        return self._answer.batch

    def request(self) -> IngestBatchesRequest:
        """Return the batch."""
        return IngestBatchesRequest(batch=self._batch)

    def settle(self, answer: IngestBatchesResponse) -> DataFlowError | None:
        """Keep the answer; a log that is full for now is asked again, with the same batch id."""
        self._answer = answer
        return from_refusal(answer.refusal) if answer.refusal.retryable else None


async def each(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """Yield the items of either kind of iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def grouped(items: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    """Yield lists of ``size`` items; the last may be shorter."""
    held: list[T] = []
    async for item in items:
        held.append(item)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held
