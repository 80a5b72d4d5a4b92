"""Dying at every point of a history, once and twice, and living on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable


class Died(BaseException):
    """The process is gone; nothing may catch it."""


class Crashes:
    """Counts the points at which a process can die, and dies at one of them.

    Pass it as a ``Context.probe``, and call it after every awaited call.
    """

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.points: list[str] = []

    def __call__(self, name: str) -> None:
        """Pass a point, or die at it."""
        self.points.append(name)
        if len(self.points) - 1 == self.at:
            raise Died(name)


class History(ABC):
    """Lives of one pipeline, one after the other, each from what the last one left."""

    @abstractmethod
    async def live(self, crashes: Crashes) -> None:
        """Run from the last decision to the end of the rows; raises ``Died`` where it is told."""

    @abstractmethod
    def check(self, *, ended: bool) -> None:
        """Assert what must hold: of whatever is visible, and at the end of every row."""


async def die_everywhere(make: Callable[[], History], *, stride: int = 1) -> None:
    """Let a history die at each point, and again at each point of its second life.

    Args:
        make: a new history over a new place.
        stride: of the second deaths, every how-manieth to try; 1 is all of them. Others
            are tried after each first death, so that none is never tried.
    """
    counted = Crashes()
    whole = make()
    await whole.live(counted)
    whole.check(ended=True)
    for first in range(len(counted.points)):
        second = first % stride
        while await _dies_twice(make(), first, second):
            second += stride


async def _dies_twice(history: History, first: int, second: int) -> bool:
    """Die at two points, then live on; tells whether the second one was reached."""
    died = await _dies(history, first)
    assert died, "a history must be the same each time it is lived"
    died = await _dies(history, second)
    if died:
        await history.live(Crashes())
    history.check(ended=True)
    return died


async def _dies(history: History, at: int) -> bool:
    try:
        await history.live(Crashes(at))
    except Died:
        history.check(ended=False)
        return True
    return False
