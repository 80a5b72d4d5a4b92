"""Sends rows to named outputs: a mask for each route, then one copy of what goes there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import Context, Output, Transform, TransformStep
from dataflow.connect.expressions import compile_expression, parse
from dataflow.transforms.binding import Array, demand, refused, types_of, visible
from dataflow.transforms.route_spec import Route, RouteOptions, problems

if TYPE_CHECKING:
    from dataflow.connect.expressions import Compiled

Mask = npt.NDArray[np.bool_]

# what a column holds is known when the program runs, not when the stubs' overloads are chosen
_joined: Callable[..., Array] = pc.binary_join_element_wise


def open_route(_: TransformStep, options: RouteOptions, __: Context) -> Router:
    """Return the router of one step."""
    return Router(options)


class Router(Transform):
    """Binds its expressions to the columns of the first batch, and again if they change."""

    def __init__(self, options: RouteOptions) -> None:
        self._options = options
        self._bound: tuple[pa.Schema, Sequence[tuple[Route, Compiled]]] | None = None

    def apply(self, batch: pa.RecordBatch) -> Output:
        """Hand each row to the outputs whose expressions are true for it.

        A row whose expression has no value is refused, unless an earlier route has taken it
        alone: what is not needed is never at fault.

        Raises:
            Rejected: an expression does not go with these columns; the message lists them.
        """
        asking = _Asking(batch, first=self._options.mode == "first")
        for route, compiled in self._compiled(batch.schema):
            asking.ask(route.name, compiled)
        masks = dict(asking.taken())
        if self._options.default is not None:
            masks[self._options.default] = asking.left
        outputs = {name: _copied(batch, mask) for name, mask in masks.items()}
        out = sum(made.num_rows for made in outputs.values())
        reached = int(np.logical_or.reduce([*masks.values()]).sum())
        rejected = asking.rejected
        return Output(
            batches=outputs,
            rejected=rejected,
            filtered=batch.num_rows - reached - (rejected.num_rows if rejected else 0),
            produced=out - reached,
        )

    def _compiled(self, schema: pa.Schema) -> Sequence[tuple[Route, Compiled]]:
        if self._bound is None or not self._bound[0].equals(schema):
            demand(problems(self._options, types_of(schema)))
            seen = visible(schema)
            routes = self._options.routes
            self._bound = (
                schema,
                [(route, compile_expression(parse(route.when), seen)) for route in routes],
            )
        return self._bound[1]


class _Asking:
    """The rows of one batch, as one route after the other takes some.

    Attributes:
        left: rows that no route has taken, and that have had a value for each so far.
    """

    def __init__(self, batch: pa.RecordBatch, *, first: bool) -> None:
        self._batch = batch
        self._first = first
        self._masks: dict[str, Mask] = {}
        self.left: Mask = np.ones(batch.num_rows, dtype=bool)
        self._bad: Mask = np.zeros(batch.num_rows, dtype=bool)
        self._rows: list[Array] = []
        self._messages: list[Array] = []

    def ask(self, name: str, compiled: Compiled) -> None:
        """Let a route take what its expression is true for."""
        outcome = compiled.evaluate_rows(self._batch)
        # an expression that is always NULL has the type null
        true = outcome.values.cast(pa.bool_()).fill_null(False).to_numpy(zero_copy_only=False)
        self._masks[name] = true & self.left if self._first else true
        if outcome.faults is not None:
            self._note(name, outcome.faults.rows, outcome.faults.messages)
        self.left &= ~true & ~self._bad

    def _note(self, name: str, rows: Array, messages: Array) -> None:
        at = rows.to_numpy(zero_copy_only=False)
        blamed = ~self._bad[at]
        if self._first:
            blamed &= self.left[at]
        self._bad[at[blamed]] = True
        self._rows.append(rows.filter(pa.array(blamed)))
        said = messages.filter(pa.array(blamed))
        self._messages.append(_joined(pa.scalar(name), said, pa.scalar(": ")))

    def taken(self) -> Iterator[tuple[str, Mask]]:
        """Return the rows of each route, without those that a later one had no value for."""
        for name, mask in self._masks.items():
            yield name, mask & ~self._bad

    @property
    def rejected(self) -> pa.RecordBatch | None:
        """Return the rows for which an expression had no value; each names the first."""
        if not self._bad.any():
            return None
        rows, messages = pa.concat_arrays(self._rows), pa.concat_arrays(self._messages)
        order = pc.array_sort_indices(rows)
        return refused(self._batch, rows.take(order), messages.take(order))


def _copied(batch: pa.RecordBatch, mask: Mask) -> pa.RecordBatch:
    if mask.all():
        return batch
    return batch.filter(pa.array(mask)) if mask.any() else batch.slice(0, 0)
