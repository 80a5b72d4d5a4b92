"""Arrays that grow at their end: each value is copied about twice, however many batches come."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class Grown:
    """An array with room behind its end."""

    def __init__(self, of: type[Any]) -> None:
        self._array: npt.NDArray[Any] = np.empty(0, of)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """Return the bytes that it takes, room included."""
        return self._array.nbytes

    @property
    def values(self) -> npt.NDArray[Any]:
        """Return what it holds; to be written to until the next ``append``."""
        return self._array[: self._size]

    def append(self, values: npt.NDArray[Any]) -> None:
        """Add values."""
        size = self._size + len(values)
        if size > len(self._array):
            room = np.empty(max(size, 2 * self._size) - self._size, self._array.dtype)
            self._array = np.concatenate([self.values, room])
        self._array[self._size : size] = values
        self._size = size

    def set(self, values: npt.NDArray[Any]) -> None:
        """Hold other values."""
        self._array, self._size = values.astype(self._array.dtype), len(values)
