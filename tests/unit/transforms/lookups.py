"""A lookup in memory, the twin of those that ask somebody; and ``enrich`` over it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from dataflow.connect import Answer, Context, Lookup, LookupOptions, LookupSpec, Wanted
from dataflow.connect.spec import Registry, parse
from dataflow.core.spec import Transform as TransformStep
from dataflow.transforms.enrich import Enrich, open_enrich
from dataflow.transforms.enrich_spec import SPEC, EnrichOptions
from tests.unit.transforms.operators import Clock
from tests.unit.transforms.rig import CONTEXT


class MemoryLookupOptions(LookupOptions):
    """Rows by one key."""

    type: Literal["memory"]
    rows: dict[str, dict[str, Any]] = Field(default_factory=dict)


@dataclass
class MemoryLookup(Lookup):
    """Knows what it is given, and notes what it is asked."""

    rows: Mapping[str, Mapping[str, Any]]
    wanted: Wanted
    asked: list[list[Any]] = field(default_factory=list)
    errors: Mapping[str, str] = field(default_factory=dict)
    closed: bool = False
    twice: bool = False

    def find(self, keys: pa.RecordBatch) -> Answer:
        names = [str(row[self.wanted.keys[0]]) for row in keys.to_pylist()]
        self.asked.append(names)
        of = [number for number, name in enumerate(names) if name in self.rows]
        of += of if self.twice else []
        columns = {
            column: pa.array([self.rows[names[number]][column] for number in of], pa.string())
            for column in self.wanted.columns
        }
        errors = {at: self.errors[name] for at, name in enumerate(names) if name in self.errors}
        return Answer(pa.record_batch(columns), pa.array(of, pa.int64()), errors)

    def close(self) -> None:
        self.closed = True


def open_memory(options: MemoryLookupOptions, wanted: Wanted, _: Context) -> MemoryLookup:
    """Return the lookup."""
    return MemoryLookup(options.rows, wanted)


MEMORY = LookupSpec(
    name="memory",
    summary="Rows in the options.",
    options=MemoryLookupOptions,
    open="tests.unit.transforms.lookups:open_memory",
)


def enrich(
    rows: Mapping[str, Mapping[str, Any]],
    clock: Clock | None = None,
    **options: Any,  # noqa: ANN401 - JSON
) -> tuple[Enrich, MemoryLookup]:
    """Return a step over a lookup in memory, and the lookup."""
    spec = Registry([MEMORY, SPEC]).transform("enrich")
    asked = {"keys": ["k"], "columns": {"v": "int64"}, "lookup": {"type": "memory"}, **options}
    parsed = parse(spec.options, json.dumps(asked))
    assert isinstance(parsed, EnrichOptions)
    context = replace(CONTEXT, clock=clock or Clock())
    made = open_enrich(TransformStep(id="t1", transform_type="enrich"), parsed, context)
    lookup = made._lookup
    assert isinstance(lookup, MemoryLookup)
    lookup.rows = rows
    return made, lookup


def keyed(keys: Sequence[str | None], first: int = 0) -> pa.RecordBatch:
    """Return rows of a key, with ordinals."""
    numbers = np.arange(first, first + len(keys))
    return pa.record_batch({"k": pa.array(keys, pa.string()), "__ordinal": pa.array(numbers)})
