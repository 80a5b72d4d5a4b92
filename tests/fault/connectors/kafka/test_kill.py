"""The program and the broker are killed; independent readers find every row once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.connect import Checkpoint, TransactionalSink, Unavailable
from dataflow.connect.testkit.places import task
from dataflow.connectors.kafka import sink as kafka_sink
from deploy.stack.kafka import Kafka
from tests.fault.connectors.kafka.histories import Chain
from tests.fault.connectors.lives import Deaths, live, problems
from tests.integration.connectors.kafka.places import KafkaPlace
from tests.integration.connectors.kafka.test_sink import SEED, decided

TRIES = 5
"""A broker that has just started refuses some requests; the engine tries again as often."""


def test_a_program_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing(
    kafka: str, tmp_path: Path
) -> None:
    """File to Kafka, Kafka to Kafka, Kafka to file, each in every step of a checkpoint."""
    chain = Chain(kafka, tmp_path, rows=30_000, lanes=2)
    assert not problems(live(chain, Deaths(seed=3, kills=3, workers=2)))


def test_rows_in_avro_are_neither_lost_nor_repeated(
    kafka: str, registry: str, tmp_path: Path
) -> None:
    """A life begins with asking for the schemas, and each record names its own."""
    chain = Chain(kafka, tmp_path, rows=8_000, registry=registry)
    assert not problems(live(chain, Deaths(seed=5, kills=2)))


async def recovered(
    place: KafkaPlace, run: int, seed: Checkpoint = SEED
) -> tuple[TransactionalSink, Checkpoint]:
    """Return a sink of the first run, from this one on, that the broker has let in."""
    for later in range(TRIES):
        sink = place.sink(lambda _: None)
        try:
            return sink, await sink.recover(task(run + later), seed)
        except Unavailable:
            await sink.close()
    raise AssertionError("the broker did not come back")


async def test_a_broker_that_is_killed_costs_a_retry_and_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was acknowledged is there again, and what was not is there as a whole or not at all."""
    monkeypatch.setattr(kafka_sink, "CALL_S_MAX", 12.0)
    with Kafka(tmp_path) as own:
        place = KafkaPlace(own.address)
        sink, _ = await recovered(place, 1)
        await sink.write(place.rows(0, 3))
        await sink.commit(decided(1))
        await sink.write(place.rows(3, 6))
        own.kill()
        own.start()
        try:
            await sink.commit(decided(2))
        except Unavailable:
            possible = [decided(1), decided(2)]
        else:
            possible = [decided(2)]
        await sink.close()
        sink, held = await recovered(place, 2, decided(1))  # as the register knows it
        await sink.close()
        assert held in possible
        assert place.visible() == [*range(3 * held.stamp.number)]
