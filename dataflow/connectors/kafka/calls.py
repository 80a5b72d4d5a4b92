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

from dataflow.connect import Unavailable

Result = TypeVar("Result")


class Calls:
    """Makes one call after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = threading.Lock()

    async def make(
        self, call: Callable[[], Result], limit_s: float, what: str, code: str = ""
    ) -> Result:
        """Return what a call returns.

        Raises:
            Unavailable: it has not come back in time, or the one before it has not.
        """
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

        threading.Thread(target=work, name=self._name, daemon=True).start()
        try:
            async with asyncio.timeout(limit_s if limit_s < math.inf else None):
                return await answer
        except TimeoutError:
            if not answer.cancelled():
                raise  # The call's own.
        message = f"{what}: no answer within {limit_s:g} s"
        raise Unavailable(message, code=code) if code else Unavailable(message)


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
