"""One item through a graph: rows, and the news of splits and inputs that end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from dataflow.connect import (
    Context,
    Operator,
    Options,
    Output,
    Position,
    Registry,
    TransformSpec,
    TransformStep,
    Via,
)
from dataflow.connect.testkit.places import Clock
from dataflow.connect.transform import MAIN, ORDINAL
from dataflow.connectors.console import SPEC as CONSOLE
from dataflow.connectors.generator import SPEC as GENERATOR
from dataflow.core.checkpoint import Ledger
from dataflow.core.ids import PipelineId, SplitId
from dataflow.core.spec import PipelineSpec, Sink, Source, Transform, canonical
from dataflow.engine.flow import Flow, FlowItem
from dataflow.engine.items import Rows, SourceEnded, SplitEnded, SplitsListed
from dataflow.engine.plan import plan
from dataflow.engine.steps import Step, make_steps
from dataflow.transforms.map_spec import SPEC as MAP

HEARD: list[str] = []
"""What the listening steps of a test were told, in order."""


class Listening(Operator):
    """Keeps rows and gives each twice at the end, in parts of one row; hears everything."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rows: list[pa.RecordBatch] = []
        self._ending = False

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        HEARD.append(f"{self._name}: {batch.num_rows} of {via.split} by {via.input}")
        visible = [name for name in batch.schema.names if name != ORDINAL]
        self._rows += [batch.select(visible).slice(row, 1) for row in range(batch.num_rows)] * 2
        return Output(absorbed=batch.num_rows)

    def splits(self, input_name: str, splits: Sequence[str], *, idles: bool) -> None:
        HEARD.append(f"{self._name}: {', '.join(splits)} by {input_name}")

    def split_ended(self, via: Via) -> Output:
        HEARD.append(f"{self._name}: end of {via.split}")
        return Output()

    def input_ended(self, input_name: str) -> Output:
        HEARD.append(f"{self._name}: end of {input_name}")
        self._ending = True
        return self.rest() or Output()

    def rest(self) -> Output | None:
        if not self._rows or not self._ending:
            return None
        return Output({MAIN: self._rows.pop(0)}, produced=1)


def open_listening(step: TransformStep, _: Options, __: Context) -> Listening:
    """Return the operator of a step."""
    return Listening(step.id)


LISTENING = TransformSpec(
    name="listening", summary="Ears.", options=Options, open=f"{__name__}:open_listening"
)
SPEC = canonical(
    PipelineSpec(
        sources={"a": Source("generator"), "b": Source("generator")},
        transforms=(
            Transform("one", "listening", ("a",)),
            Transform("both", "map", ("one", "b"), '{"compute": {"m": "n + 1"}}'),
            Transform("two", "listening", ("both",)),
        ),
        sink=Sink("console", input="two"),
    )
)
SINK = "sink"


def flow_of(spec: PipelineSpec) -> tuple[Flow, Sequence[Step]]:
    """Return a flow and its steps."""
    planned = plan(Registry([GENERATOR, CONSOLE, MAP, LISTENING]), spec)

    steps = make_steps(
        planned, PipelineId("p"), lambda p, s: Context(p, s, Clock(), lambda text: text, Path)
    )
    return Flow(planned.graph, steps, Clock()), steps


def rows(source: str, count: int) -> Rows:
    """Return rows of the only split of a source."""
    batch = pa.record_batch(
        {"n": pa.array(range(count), pa.int64()), ORDINAL: pa.array(range(count), pa.int64())}
    )
    return Rows(source, SplitId(f"{source}::0"), batch, Position(), count, 0, 0)


def taken(flow: Flow, *items: FlowItem) -> tuple[list[list[int]], Ledger]:
    """Return the rows of each delivery that has some, and the ledger of all."""
    found, ledger = [], Ledger()
    for item in items:
        deliveries = list(flow.take(item))
        while flow.has_more:
            deliveries += flow.more()
        for sink, delivery in deliveries:
            assert sink == SINK
            ledger = ledger.plus(delivery.ledger)
            values = [row["n"] for _, batch in delivery.batches for row in batch.to_pylist()]
            ledger = ledger.plus(Ledger(records_written=len(values)))
            found += [values] if values else []
    return found, ledger


def test_what_one_item_makes_comes_in_parts_that_each_go_all_the_way() -> None:
    """It may be larger than memory; and the end of an input is told behind the last part."""
    HEARD.clear()
    flow, steps = flow_of(SPEC)
    a, b = SplitId("a::0"), SplitId("b::0")
    found, ledger = taken(
        flow,
        SplitsListed("a", [a], idles=False),
        SplitsListed("b", [b], idles=False),
        rows("a", 2),
        rows("b", 1),
        SplitEnded("a", a),
        SourceEnded("a"),
        SplitEnded("b", b),
        SourceEnded("b"),
    )
    assert HEARD == [
        "one: a::0 by a",
        "two: one by both",
        "two: b::0, one by both",
        "one: 2 of a::0 by a",
        "two: 1 of b::0 by both",
        "one: end of a::0",
        "one: end of a",
        "two: 1 of one by both",
        "two: 1 of one by both",
        "two: 1 of one by both",
        "two: 1 of one by both",
        "two: end of one",
        "two: end of b::0",
        "two: end of both",
    ]
    assert found == [[n] for n in (0, 0, 0, 0, 1, 1, 0, 0, 1, 1)]
    assert ledger.balances
    assert ledger == Ledger(
        records_read=3, records_produced=14, records_written=10, records_absorbed=7
    )
    assert [step.made for step in steps] == [4, 0, 10]
