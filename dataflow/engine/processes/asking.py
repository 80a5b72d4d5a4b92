"""Questions over a link: each end asks the other, and either may lose interest in an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

from dataflow.core.errors import Code, DataFlowError, Unavailable
from dataflow.engine.failure import first_of
from dataflow.engine.processes.messages import Answer, Ask, Question, Refused, Replied, Withdraw
from dataflow.wire.errors import error_bytes, error_of

A = TypeVar("A", bound=Answer)


class Asking:
    """One end: its own questions under way, and those of the other end that are being answered."""

    def __init__(
        self,
        say: Callable[[Ask | Replied | Withdraw], None],
        answer: Callable[[Question], Awaitable[Answer]],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._say = say
        self._answer = answer
        self._tasks = tasks
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._answering: dict[int, asyncio.Task[None]] = {}
        self._lost: Unavailable | None = None

    async def ask(self, question: Question, kind: type[A]) -> A:
        """Return the answer.

        Raises:
            DataFlowError: what the other end raised, or that it is gone.
        """
        if self._lost is not None:
            raise self._lost
        number = next(self._numbers)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[number] = answered
        try:
            self._say(Ask(number, question))
            answer = await answered
        except asyncio.CancelledError:
            self._say(Withdraw(number))
            raise
        finally:
            self._asked.pop(number, None)
        if isinstance(answer, Refused):
            raise error_of(answer.error)
        if not isinstance(answer, kind):
            raise TypeError(f"{type(answer).__name__} is no {kind.__name__}")
        return answer

    def hear(self, message: Ask | Replied | Withdraw) -> None:
        """Take what the other end says."""
        match message:
            case Ask():
                task = self._tasks.create_task(self._reply(message))
                self._answering[message.number] = task
                task.add_done_callback(lambda _: self._answering.pop(message.number, None))
            case Replied():
                answered = self._asked.get(message.number)
                if answered is not None and not answered.done():
                    answered.set_result(message.answer)
            case Withdraw():
                if (task_of_it := self._answering.get(message.number)) is not None:
                    task_of_it.cancel()

    def lost(self, error: Unavailable) -> None:
        """Let nobody wait any more: the other end is gone."""
        self._lost = error
        for answered in self._asked.values():
            if not answered.done():
                answered.set_exception(error)
        for task in self._answering.values():
            task.cancel()

    async def _reply(self, asked: Ask) -> None:
        """Answer, whatever happens: there is somebody who waits for it."""
        try:
            answer = await self._answer(asked.question)
            self._say(Replied(asked.number, answer))
        except Exception as error:  # noqa: BLE001 - it is raised where the question was asked
            self._say(Replied(asked.number, refused(first_of(error))))


def refused(error: BaseException) -> Refused:
    """Return an error as a message; one that nobody expected as what it says of itself."""
    if not isinstance(error, DataFlowError):
        error = DataFlowError(f"{type(error).__name__}: {error}", code=Code.INTERNAL)
    return Refused(error_bytes(error))
