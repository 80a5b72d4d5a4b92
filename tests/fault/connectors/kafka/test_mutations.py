"""Take a protection out of the sink, and some test must fail.

Three more may go, for others stand behind them. Decisions read without ``read_committed``: the
brokers answer who takes a transactional id only once what it left is over, so nothing is undecided
when they are read. A producer that is kept after an unknown commit, and a transaction that
``close`` does not abort: the next run takes the id, which ends what was left open, before it reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from dataflow.connectors.kafka import decisions
from dataflow.connectors.kafka import sink as kafka_sink
from tests.fault.connectors.kafka import test_order
from tests.integration.connectors.kafka import places, test_sink
from tests.integration.connectors.kafka.test_sink_suite import TestKafkaSink as Suite


class Mutation(NamedTuple):
    """One protection removed, and a test that must miss it."""

    name: str
    module: ModuleType
    before: str
    after: str
    test: Callable[[str, pytest.MonkeyPatch], Awaitable[None]]


def of_suite(name: str) -> Callable[[str, pytest.MonkeyPatch], Awaitable[None]]:
    """Return a test of what every transactional sink promises."""

    async def run(broker: str, _: pytest.MonkeyPatch) -> None:
        suite = Suite()
        suite.broker = broker
        await getattr(suite, f"test_{name}")()

    return run


def alone(
    test: Callable[[str], Awaitable[None]],
) -> Callable[[str, pytest.MonkeyPatch], Awaitable[None]]:
    """Return a test that needs a broker only."""

    async def run(broker: str, _: pytest.MonkeyPatch) -> None:
        await test(broker)

    return run


CLAIM = """            self._begin()
            self._finish(Claimed(task.run, held))
"""
INIT = """            self._again(lambda: producer.init_transactions(ANSWER_S))
            self._probe("kafka.initialised")
            self._decisions = Decisions(self._settings, self._topic, name, ANSWER_S)
            held = self._held(self._stored(self._decisions, seed), task, seed)
"""
INIT_LATE = """            self._decisions = Decisions(self._settings, self._topic, name, ANSWER_S)
            held = self._held(self._stored(self._decisions, seed), task, seed)
            self._again(lambda: producer.init_transactions(ANSWER_S))
"""
SEND = "producer.send_offsets_to_transaction([offset], self._members[number], self._timeout_s)"
SEND_APART = (
    "consumer = self._consumer(number); consumer.commit(offsets=[offset], asynchronous=False)"
)
PUT = "        self._again(lambda: decisions.put(producer, claimed))\n"
ROWS_FIRST = "        producer.commit_transaction(ANSWER_S)\n        producer.begin_transaction()\n"

MUTATIONS = (
    Mutation(
        "the claim of a run",
        kafka_sink,
        CLAIM,
        "",
        alone(test_sink.test_a_zombie_that_comes_in_between_does_not_stop_the_living),
    ),
    Mutation(
        "the end of a run that finds a larger one's claim",
        kafka_sink,
        "if stored.run > task.run:",
        "if False:",
        of_suite("an_older_run_is_fenced_once_a_newer_one_has_claimed"),
    ),
    Mutation(
        "the transactional id that all runs share",
        kafka_sink,
        '"transactional.id": name,',
        '"transactional.id": f"{name}.{task.run}",',
        of_suite("an_older_run_is_fenced_once_a_newer_one_has_claimed"),
    ),
    Mutation(
        "the decision that the topic holds",
        kafka_sink,
        "return decision_held(stored.decision, seed)",
        "return seed",
        of_suite("the_last_decision_comes_back_whole"),
    ),
    Mutation(
        "the decision that the group has lost",
        kafka_sink,
        "if stored is None and seed.seeded:",
        "if False:",
        alone(test_sink.test_a_decision_that_was_lost_is_missed_aloud),
    ),
    Mutation(
        "the id that is taken before the decision is read",
        kafka_sink,
        INIT,
        INIT_LATE,
        test_order.test_nobody_decides_behind_the_back_of_who_has_read_the_decision,
    ),
    Mutation(
        "the decision in the transaction",
        decisions,
        SEND,
        SEND_APART,
        alone(test_order.test_who_dies_with_the_decision_sent_leaves_neither_it_nor_rows),
    ),
    Mutation(
        "the rows in the transaction of their decision",
        kafka_sink,
        PUT,
        ROWS_FIRST + PUT,
        alone(test_order.test_who_dies_with_the_decision_sent_leaves_neither_it_nor_rows),
    ),
    Mutation(
        "the decisions under other topics",
        decisions,
        "known = {*consumer.list_topics(timeout=self._timeout_s).topics, self._topic}",
        "known = {self._topic}",
        alone(test_sink.test_a_pipeline_that_is_told_another_topic_and_back_goes_on),
    ),
)


def mutated(mutation: Mutation, folder: Path) -> ModuleType:
    """Return the module with the mutation in it, under a name of its own."""
    source = Path(f"{mutation.module.__file__}").read_text()
    assert source.count(mutation.before) == 1, "the mutation no longer fits the source"
    file = folder / "mutated.py"
    file.write_text(source.replace(mutation.before, mutation.after))
    spec = spec_from_file_location("mutated", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: str(mutation.name))
async def test_a_protection_that_is_taken_out_is_missed(
    mutation: Mutation, kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it could go missing by accident, too."""
    module = mutated(mutation, tmp_path)
    if mutation.module is decisions:
        monkeypatch.setattr(kafka_sink, "Decisions", module.Decisions)
    else:
        for user in (places, test_sink):
            monkeypatch.setattr(user, "KafkaSink", module.KafkaSink)
        monkeypatch.setattr(test_order, "kafka_sink", module)
    with pytest.MonkeyPatch.context() as own:
        assert await fails(mutation.test(kafka, own))


async def fails(test: Awaitable[None]) -> bool:
    """Tell whether a test does."""
    try:
        await test
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever it says, it has noticed
        return True
    return False
