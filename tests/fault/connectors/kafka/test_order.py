"""The steps of a run that must not swap: it dies, or its predecessor wakes, between them."""

from __future__ import annotations

from contextlib import suppress

import pytest

from dataflow.connect import Unavailable
from dataflow.connect.testkit.places import task
from dataflow.connectors.kafka import sink as kafka_sink
from dataflow.connectors.kafka.decisions import Claimed, Decisions
from tests.integration.connectors.kafka.places import KafkaPlace
from tests.integration.connectors.kafka.test_sink import SEED, decided


class Died(Exception):
    """The process has."""


async def test_who_dies_with_the_decision_sent_leaves_neither_it_nor_rows(kafka: str) -> None:
    """One transaction holds both: whatever shows alone would be lost, or come again."""
    place = KafkaPlace(kafka)

    def die(point: str) -> None:
        if point == "kafka.decision sent" and is_written:
            raise Died

    is_written = False
    sink = place.sink(die)
    await sink.recover(task(1), SEED)
    await sink.write(place.rows(0, 3))
    is_written = True
    with pytest.raises(Died):
        await sink.commit(decided(1))
    await place.kill(sink)
    assert place.visible() == []
    again = place.sink(lambda _: None)
    assert await again.recover(task(2), SEED) == SEED
    await again.close()
    assert place.visible() == []


async def test_nobody_decides_behind_the_back_of_who_has_read_the_decision(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The predecessor's id is taken BEFORE: else its last rows would come again."""
    place = KafkaPlace(kafka)
    before = place.sink(lambda _: None)
    await before.recover(task(1), SEED)
    await before.write(place.rows(0, 3))

    class Awaited(Decisions):
        def read(self) -> Claimed | None:
            found = super().read()
            with suppress(Unavailable):
                before._commit(decided(1))
            return found

    monkeypatch.setattr(kafka_sink, "Decisions", Awaited)
    after = place.sink(lambda _: None)
    held = await after.recover(task(2), SEED)
    monkeypatch.undo()
    await before.close()
    await after.write(place.rows(3 * held.stamp.number, 6))
    await after.commit(decided(2, run=2))
    await after.close()
    assert place.visible() == [*range(6)]
