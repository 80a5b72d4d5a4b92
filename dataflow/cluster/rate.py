"""How fast something counts up, over the last few seconds."""

from __future__ import annotations

from collections import deque

WINDOW_S = 5.0
"""Long enough to smooth batches, short enough to show a change."""


class Rate:
    """A count's growth a second over a sliding window."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now_s: float, count: int) -> None:
        """Note a running count."""
        self._seen.append((now_s, count))
        while len(self._seen) > 2 and now_s - self._seen[0][0] > WINDOW_S:  # noqa: PLR2004 - two ends
            self._seen.popleft()

    def per_second(self, now_s: float) -> float:
        """Return the rate as of now; it falls to zero when nothing is noted any more."""
        while len(self._seen) > 1 and now_s - self._seen[1][0] > WINDOW_S:
            self._seen.popleft()
        if not self._seen:
            return 0.0
        first_s, first = self._seen[0]
        elapsed_s = now_s - first_s
        return (self._seen[-1][1] - first) / elapsed_s if elapsed_s > 0 else 0.0
