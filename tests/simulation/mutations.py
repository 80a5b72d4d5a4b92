"""Protections taken out, one at a time and in pairs: for each, some seed must fail.

A fence that nothing tests is a comment. Nothing shipped has a switch: a mutation puts another
function in the place of one, for the length of a run. Protections mask each other, so one that
survives alone says which other one holds, and the pair of both must fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from dataflow.app.projection import Fanout
from dataflow.cluster import lease as lease_module
from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.lease import Lease
from dataflow.cluster.membership import Membership
from dataflow.cluster.owned import Owned
from dataflow.cluster.ownership import Owning
from dataflow.cluster.register import Register
from dataflow.cluster.routing import Router
from dataflow.cluster.run import RunLoop
from dataflow.cluster.runs import Runs
from dataflow.cluster.shard import Shard
from dataflow.cluster.window import Window
from dataflow.journal import rules
from dataflow.journal.memory import Memory
from tests.simulation import sinks
from tests.simulation.leases import AskedAt
from tests.simulation.removals import commands, journal, ownership, runs

Patch: TypeAlias = tuple[Any, str, Any]

SEEDS_TRIED = 400
"""Without a protection; the rarest needs some hundred."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to be wrong."""

    name: str
    patches: tuple[Patch, ...]
    seed: int = -1
    """One that fails; looked for where there is none."""
    survives: str = ""
    """Why no seed fails: what else holds."""


APPEND_FENCE = (rules, "appended", journal.appended_by_anybody)
LOG_END = (rules, "appended", journal.appended_anywhere)
FENCE_AND_END = (rules, "appended", journal.appended_by_anybody_anywhere)
APPEND_ID = (rules, "appended", journal.appended_again)
DECIDE_FENCE = (Memory, "decide", journal.decided_by_anybody)
SNAPSHOT_FENCE = (Memory, "save_snapshot", journal.snapshot_by_anybody)
REGISTER_CAS = (rules, "outcome", journal.outcome_without_comparing)
REGISTER_RUN = (rules, "outcome", journal.outcome_by_number)
CLAIM = (Register, "claim", runs.claim_nothing)
GUESS = (Register, "_write", runs.write_without_looking)
ADOPTION = (Register, "adopt", runs.adopt_nothing)
FAILED = (Shard, "_append", commands.append_or_fail)
WRITTEN = (Shard, "_append", commands.append_or_pretend)
OTHERWISE = (Shard, "_append", commands.append_under_new_names)
EARLY = (Shard, "handle", commands.handle_before_it_is_durable)
UNCOMMITTED = (Shard, "_decide", commands.decide_on_what_may_not_happen)
WINDOW = (Window, "find", commands.find_nothing)
REPLAYED = (Shard, "_replay", commands.replay_without_commands)
ENCODED = (Window, "encoded", commands.encoded_nothing)
SAME_ID = (Router, "_try", commands.ask_under_a_new_id)
DEADLINE = (Lease, "is_held", property(ownership.held_until_told))
AGAIN = (Lease, "is_held", property(ownership.held_again))
FROM_ANSWER = (AskedAt, "steady", ownership.now)
NO_MARGIN = (lease_module, "MARGIN", 0.0)
FENCED = (Owned, "_lost", ownership.keep_serving)
CONDITION = (Owning, "_transact", ownership.transact_unconditionally)
BOOT = (ClusterMap, "owner", ownership.owner_of_any_boot)
LIST_AGAIN = (Membership, "_list_again", ownership.never_list_again)
RECONCILE = (Membership, "_reconcile", ownership.never_list_again)
SETTLED = (Fanout, "settled", runs.settle_nothing)
AHEAD = (Shard, "load", runs.load_whatever_the_views_have)
REPORTS = (RunLoop, "receive", runs.receive_from_any_run)
TOLD_FIRST = (RunLoop, "_decide", runs.tell_before_deciding)
CALENDAR = (Runs, "_until_s", ownership.until_by_this_calendar)
TABLE_RUN = (sinks.Table, "checks_run", False)

MUTATIONS = (
    Mutation("journal: fence of an append", (APPEND_FENCE,), 33),
    Mutation("journal: end of the log", (LOG_END,), 10),
    Mutation("journal: fence and end", (FENCE_AND_END,), 10),
    Mutation("journal: append id", (APPEND_ID,), 4),
    Mutation("journal: fence of a decision", (DECIDE_FENCE,), 3),
    Mutation(
        "journal: fence of a snapshot",
        (SNAPSHOT_FENCE,),
        survives="who is fenced holds what he had committed, and of two the later is loaded",
    ),
    Mutation("register: compare-and-set", (REGISTER_CAS,), 7),
    Mutation("register: run", (REGISTER_RUN,), 10),
    Mutation("register: fence and compare-and-set", (DECIDE_FENCE, REGISTER_CAS), 3),
    Mutation("register: claim", (CLAIM,), 0),
    Mutation("register: claim and fence", (CLAIM, DECIDE_FENCE), 0),
    Mutation("register: unknown is yes", (GUESS,), 3),
    Mutation("register: adoption", (ADOPTION,), 3),
    Mutation("unknown append: failed", (FAILED,), 4),
    Mutation("unknown append: written", (WRITTEN,), 3),
    Mutation("unknown append: repeated otherwise", (OTHERWISE,), 4),
    Mutation("answers after the append", (EARLY,), 0),
    Mutation("committed state", (UNCOMMITTED,), 2),
    Mutation("commands: window", (WINDOW,), 0),
    Mutation("commands: window after replay", (REPLAYED,), 0),
    Mutation("commands: window in the snapshot", (ENCODED,), 9),
    Mutation("commands: the same id", (SAME_ID,), 0),
    Mutation("lease: deadline", (DEADLINE,), 20),
    Mutation(
        "lease: counted from the sending",
        (FROM_ANSWER,),
        survives="the margin is larger than a keepalive may take",
    ),
    Mutation("lease: margin", (NO_MARGIN,), survives="it counts from the sending"),
    Mutation(
        "lease: sending and margin",
        (FROM_ANSWER, NO_MARGIN),
        survives="what both give is a keepalive's time, less than a takeover takes",
    ),
    Mutation("lease: over for good", (AGAIN,), 52),
    Mutation("fenced: serves on", (FENCED,), 33),
    Mutation("owner key: condition", (CONDITION,), 14),
    Mutation("owner key and fence", (CONDITION, APPEND_FENCE), 8),
    Mutation(
        "owner: boot",
        (BOOT,),
        survives="a node that has come back answers that it owns nothing, and is asked again",
    ),
    Mutation("watch: list again", (LIST_AGAIN,), survives="everything is listed now and then"),
    Mutation("watch: reconcile", (RECONCILE,), survives="these watches lose nothing unsaid"),
    Mutation("watch: list again and reconcile", (LIST_AGAIN, RECONCILE), 17),
    Mutation(
        "views: settled before a snapshot",
        (SETTLED,),
        survives="a snapshot ahead of the views is not loaded",
    ),
    Mutation(
        "views: no snapshot ahead of them",
        (AHEAD,),
        survives="the views hold what a snapshot covers before it is saved",
    ),
    Mutation("views: settled, and none ahead", (SETTLED, AHEAD), 123),
    Mutation(
        "runs: reports of older ones",
        (REPORTS,),
        survives="a worker's reports come in order, and a run begins after the one before; the"
        " unit tests of runs notice",
    ),
    Mutation("runs: decided, then told", (TOLD_FIRST,), 4),
    Mutation("runs: retries by any calendar", (CALENDAR,), 35),
    Mutation("table: run", (TABLE_RUN,), 9),
)


@contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """Be wrong for a while."""
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in mutation.patches]
    for owner, name, other in mutation.patches:
        setattr(owner, name, other)
    try:
        yield
    finally:
        for owner, name, shipped in before:
            setattr(owner, name, shipped)


def seeds_of(mutation: Mutation) -> Iterable[int]:
    """Return the seeds to try: the one that is known to fail, then the others."""
    known = [mutation.seed] if mutation.seed >= 0 else []
    return [*known, *(seed for seed in range(SEEDS_TRIED) if seed not in known)]
