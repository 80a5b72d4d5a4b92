"""Calls of a driver that may never come back: each in a thread that can be left behind.

librdkafka 2.16 hangs in ``send_offsets_to_transaction`` once a broker was killed in the middle of a
transaction, whatever time-out it is given. The thread is a daemon, so that it holds up no exit.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from dataflow.connect import Unavailable

LEFT_MAX = 32
"""Calls of a process that hang, two to a run that ended so: each has a thread, a run a client."""

log = structlog.get_logger()

Result = TypeVar("Result")


class Left:
    """Calls that were given up and have not come back: how many there are in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def add(self, number: int) -> int:
        """Count one more, or less; return how many there are."""
        with self._lock:
            self._count += number
            return self._count


LEFT = Left()


class Calls:
    """Makes one call after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = threading.Lock()

    @staticmethod
    def require_room(what: str) -> None:
        """Refuse to begin where too many calls hang already.

        Raises:
            Unavailable: they do.
        """
        if (count := LEFT.add(0)) >= LEFT_MAX:
            raise Unavailable(
                f"{what}: {count} calls of Kafka's driver hang in this process, and no more are"
                " begun; they end when the brokers answer again, or with the process"
            )

    async def make(
        self, call: Callable[[], Result], limit_s: float, what: str, code: str = ""
    ) -> Result:
        """Return what a call returns.

        Raises:
            Unavailable: it has not come back in time, or the one before it has not.
        """
        ends = _Ends()
        answer = self._begun(call, ends)
        try:
            async with asyncio.timeout(limit_s if limit_s < math.inf else None):
                return await answer
        except TimeoutError:
            if not answer.cancelled():
                raise  # The call's own.
        if not ends.is_second():
            log.warning("a call of Kafka's driver hangs", call=what, hanging=LEFT.add(1))
        message = f"{what}: no answer within {limit_s:g} s"
        raise Unavailable(message, code=code) if code else Unavailable(message)

    def begin(self, call: Callable[[], Result]) -> asyncio.Future[Result]:
        """Begin a call, and wait for nothing: the future returns what it returns."""
        return self._begun(call, _Ends())

    def _begun(self, call: Callable[[], Result], ends: _Ends) -> asyncio.Future[Result]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()

        def work() -> None:
            with self._turn:
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 - told to whoever waits
                    _tell(loop, answer, error=error)
                else:
                    _tell(loop, answer, result=[result])
            if ends.is_second():
                LEFT.add(-1)

        threading.Thread(target=work, name=self._name, daemon=True).start()
        return answer


class _Ends:
    """That of a call, and that of the patience with it: which of them comes second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._has_one = False

    def is_second(self) -> bool:
        """Take note of one."""
        with self._lock:
            before, self._has_one = self._has_one, True
            return before


def _tell(
    loop: asyncio.AbstractEventLoop,
    answer: asyncio.Future[Result],
    result: list[Result] | None = None,
    error: BaseException | None = None,
) -> None:
    def tell() -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        elif result is not None:
            answer.set_result(result[0])

    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        return  # The loop is gone, and with it everyone who could be told.
