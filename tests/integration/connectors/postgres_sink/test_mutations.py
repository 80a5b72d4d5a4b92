"""The tests of zombies fail when what they guard is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from dataflow.connectors.postgres import decisions
from dataflow.core.errors import DataFlowError
from tests.databases import Database
from tests.integration.connectors.postgres_sink import test_zombies as tests
from tests.integration.connectors.postgres_sink.rig import Rig

DECIDE = decisions.SQL["decide"]

MUTATIONS: dict[str, tuple[str, str, Callable[[Rig, Database], Awaitable[None]]]] = {
    "sessions are left": (
        "end_older",
        "SELECT $1::text, $2::bigint",
        tests.test_a_successor_does_not_wait_for_what_a_frozen_run_has_locked,
    ),
    "every session of the pipeline is ended": (
        "end_older",
        decisions.SQL["end_older"].replace("< $2", "<> $2"),
        tests.test_a_zombie_does_not_end_its_successor,
    ),
    "sessions of others are ended": (
        "end_older",
        decisions.SQL["end_older"].replace("~ $1", "LIKE 'dataflow %' OR $1 = ''"),
        tests.test_sessions_of_others_are_left_alone,
    ),
    "the claim is not compared": (
        "decide",
        DECIDE.replace("claimed = $3", "$3::bigint IS NOT NULL"),
        tests.test_a_run_whose_session_lives_on_is_refused_by_the_claim,
    ),
    "the decision before is not compared": (
        "decide",
        DECIDE.replace("run = $4 AND number = $5", "$4::bigint + $5::bigint IS NOT NULL"),
        tests.test_of_two_writers_of_one_run_only_the_first_decides,
    ),
    "the claim is not looked at before writing": (
        "claimed",
        "SELECT 1 WHERE $1::text IS NOT NULL AND $2::int IS NOT NULL",
        tests.test_a_run_that_begins_a_transaction_too_late_is_told_before_it_writes,
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_broken_sink_is_caught(
    name: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that a broken sink passes proves nothing."""
    statement, text, test = MUTATIONS[name]
    assert text != decisions.SQL[statement]
    monkeypatch.setitem(decisions.SQL, statement, text)
    async with tests.rig_of(database) as rig:
        with pytest.raises((AssertionError, DataFlowError, pytest.fail.Exception)):
            await test(rig, database)
