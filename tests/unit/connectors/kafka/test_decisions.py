"""Decisions that do not fit where they are kept."""

from __future__ import annotations

from hashlib import sha256

import pytest
from confluent_kafka import Producer

from dataflow.connect import Checkpoint, Rejected, Run, SplitId
from dataflow.connectors.kafka.decisions import Claimed, Decisions
from dataflow.core.checkpoint import SplitPosition


def test_a_decision_that_no_groups_can_hold_names_the_bound_and_the_remedy() -> None:
    """It grows with the splits; whoever has so many has to hear it before rows are lost."""
    positions: dict[str, SplitPosition] = {
        SplitId(sha256(b"%d" % number).hexdigest()): SplitPosition("{}", number)
        for number in range(15_000)
    }
    claimed = Claimed(Run(1), Checkpoint(positions=positions))
    decisions = Decisions({}, "t", "g", 1.0)
    with pytest.raises(Rejected, match=r"15,000 splits has .* 786,432 at most") as large:
        decisions.put(Producer({}), claimed)
    assert large.value.field == "options.delivery"
