"""A cluster in virtual time, through faults that seeds draw: nothing is lost or comes twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation, mutated, seeds_of
from tests.simulation.scenario import run

SEEDS = 2_000
SEEDS_A_TEST = 20
"""Some two seconds."""

ROOT = Path(__file__).parents[2]

KNOWN = [mutation for mutation in MUTATIONS if mutation.seed >= 0]


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_A_TEST))
def test_a_cluster_keeps_its_promises_through_faults(first: int) -> None:
    """Crashes, pauses, stopped clocks, cuts, storms, frozen stores, and all of them at once."""
    for seed in range(first, first + SEEDS_A_TEST):
        result = run(seed)
        assert not result.violations, result.report()


@pytest.mark.no_cover
@pytest.mark.parametrize("mutation", KNOWN, ids=lambda mutation: str(mutation.name))
def test_a_protection_that_is_taken_out_is_missed(mutation: Mutation) -> None:
    """A simulation that a broken cluster survives says nothing about one that is not.

    The seed that is known comes first; a change of the code may have made it another one.
    """
    with mutated(mutation):
        assert any(run(seed).violations for seed in seeds_of(mutation))


def test_every_protection_fails_some_seed_or_says_what_holds_in_its_place() -> None:
    """One that is neither missed nor explained may not be needed, or not be tested."""
    assert [one.name for one in MUTATIONS if (one.seed >= 0) == bool(one.survives)] == []


def test_a_mutation_is_undone() -> None:
    """The next run in the same process must run what is shipped."""
    mutation = KNOWN[0]
    shipped = [owner.__dict__[name] for owner, name, _ in mutation.patches]
    with mutated(mutation):
        pass
    assert [owner.__dict__[name] for owner, name, _ in mutation.patches] == shipped


def test_a_seed_is_the_same_run_every_time() -> None:
    """What fails can be looked at again, in whatever process, whatever ran before it."""
    run(8)
    ours = run(7).trace.digest()
    theirs = [_digest(7, hash_seed) for hash_seed in ("1", "2")]
    assert theirs == [ours, ours]


def _digest(seed: int, hash_seed: str) -> str:
    program = f"from tests.simulation.scenario import run; print(run({seed}).trace.digest())"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return ended.stdout.strip()
