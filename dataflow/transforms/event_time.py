"""How far event time has come, over all splits; moments are microseconds since 1970.

The watermark is the least, over the open splits, of the latest moment seen in each, less
``out_of_order``. A split that has not brought a row holds it where it is, unless it may idle and
has for ``idle_timeout``: then it is left out, until its next row. When all are left out, the
latest counts. It never goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

NEVER = -(2**62)
"""Before every moment; far enough from the end of int64 to be computed with."""


class EventTime:
    """The moments seen by split, and the watermark that follows from them.

    Args:
        out_of_order: microseconds that the watermark stays behind.
        idle_s: how long a split may bring nothing before it is left out; None for ever.
        steady: seconds that never jump: the time of day may, and must not let splits idle.
    """

    def __init__(
        self, out_of_order: int, idle_s: float | None, steady: Callable[[], float]
    ) -> None:
        self.watermark = NEVER
        self._out_of_order = out_of_order
        self._idle_s = idle_s
        self._steady = steady
        self._seen: dict[str, int] = {}
        self._open: dict[str, dict[str, bool]] = {}
        self._active: dict[str, float] = {}

    def splits(self, input_name: str, splits: Sequence[str], *, idles: bool) -> None:
        """Wait for these splits of an input, and for no others of it."""
        self._open[input_name] = dict.fromkeys(splits, idles)
        for split in splits:
            self._active.setdefault(split, self._steady())

    def saw(self, input_name: str, split: str, moment: int) -> None:
        """Note the latest moment of some rows."""
        self._open.setdefault(input_name, {}).setdefault(split, False)
        self._active[split] = self._steady()
        self._seen[split] = max(moment, self._seen.get(split, NEVER))

    def latest(self, split: str) -> int:
        """Return the latest moment seen in a split, or ``NEVER``."""
        return self._seen.get(split, NEVER)

    def ended(self, input_name: str, split: str) -> None:
        """Wait for a split no longer."""
        self._open.get(input_name, {}).pop(split, None)
        self._active.pop(split, None)
        self._seen.pop(split, None)

    def advance(self) -> int:
        """Return the watermark as it is now."""
        waiting = {split: idles for each in self._open.values() for split, idles in each.items()}
        active = [split for split, idles in waiting.items() if not (idles and self._idles(split))]
        if active:
            moment = min(self._seen.get(split, NEVER) for split in active)
        else:
            moment = max((self._seen.get(split, NEVER) for split in waiting), default=NEVER)
        if moment != NEVER:
            self.watermark = max(self.watermark, moment - self._out_of_order)
        return self.watermark

    def restart(self) -> None:
        """Begin with no moment at all."""
        self.watermark = NEVER
        self._seen.clear()
        self._open.clear()

    @property
    def saved(self) -> Mapping[str, int]:
        """The moments by split; with the watermark all that outlives a run."""
        return dict(self._seen)

    def restore(self, seen: Mapping[str, int], watermark: int) -> None:
        """Take up what was saved."""
        self._seen, self.watermark = dict(seen), watermark

    def _idles(self, split: str) -> bool:
        if self._idle_s is None:
            return False
        return self._steady() - self._active.get(split, self._steady()) >= self._idle_s
