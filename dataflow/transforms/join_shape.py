"""Which columns a join gives, and by which names. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Named(Protocol):
    """What of the options matters to names."""

    @property
    def type(self) -> str:
        """Return the kind of join."""
        ...

    @property
    def left_keys(self) -> Sequence[str]:
        """Return the keys of the left."""
        ...

    @property
    def right_keys(self) -> Sequence[str]:
        """Return those of the right."""
        ...

    @property
    def suffix(self) -> str:
        """Return what is added to names that are taken."""
        ...


class Shape:
    """The columns of the left, and behind them those of the right.

    A key of one name on both sides is one column, as with SQL's USING.

    Attributes:
        right: columns of the right that go out, and their names there.
        shared: keys that are one column: it holds the right's value where there is no left row.
        taken: names that two columns would have.
    """

    def __init__(self, options: Named, left: Sequence[str], right: Sequence[str]) -> None:
        pairs = zip(options.left_keys, options.right_keys, strict=False)
        self.shared = [one for one, other in pairs if one == other]
        names = set(left)
        self.right: list[tuple[str, str]] = []
        self.taken: list[str] = []
        if options.type in {"semi", "anti"}:
            return
        for name in right:
            if name in self.shared:
                continue
            out = name + options.suffix if name in names else name
            if out in {*names, *(taken for _, taken in self.right)} or (
                out != name and out in right
            ):
                self.taken.append(out)
            self.right.append((name, out))
