"""``python -m tests.simulation``: one seed, many seeds, or what happens without each protection."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

from tests.simulation.mutations import MUTATIONS, Mutation, mutated, seeds_of
from tests.simulation.scenario import Result, run


def main(arguments: list[str] | None = None) -> int:
    """Return 1 if something has happened that must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="simulate one, and show it if it fails")
    parser.add_argument("--trace", action="store_true", help="show it in any case, whole")
    parser.add_argument("--mutation", default="", help="take this protection out first")
    parser.add_argument("--seeds", metavar="FIRST:END", help="simulate many, in two processes")
    parser.add_argument("--mutations", action="store_true", help="take each out, list what failed")
    asked = parser.parse_args(arguments)
    if asked.mutations:
        return _show_mutations()
    if asked.seeds:
        first, _, end = asked.seeds.partition(":")
        return _simulate_many(range(int(first), int(end)))
    return _simulate(asked.seed or 0, asked.mutation, is_shown=asked.trace)


def _simulate(seed: int, name: str, *, is_shown: bool) -> int:
    mutation = next((one for one in MUTATIONS if one.name == name), Mutation("", ()))
    with mutated(mutation):
        result = run(seed)
    if is_shown:
        print("\n".join(result.trace.lines()))
    elif result.violations:
        print(result.report())
    print(
        f"seed {seed}: {len(result.violations)} violations, {result.ended_s:.1f} virtual seconds,"
        f" {result.steps} steps, trace {result.trace.digest()[:16]}"
    )
    return 1 if result.violations else 0


def _simulate_many(seeds: range) -> int:
    failed = 0
    with ProcessPoolExecutor() as pool:
        for result in pool.map(_verdict, seeds, chunksize=20):
            if result:
                failed += 1
                print(result, flush=True)
    print(f"{len(seeds)} seeds, {failed} with violations")
    return 1 if failed else 0


def _verdict(seed: int) -> str:
    result = run(seed)
    return f"seed {seed}: {result.violations}" if result.violations else ""


def _show_mutations() -> int:
    wrong = 0
    with ProcessPoolExecutor() as pool:
        for mutation, line, as_expected in pool.map(_without, range(len(MUTATIONS))):
            wrong += not as_expected
            print(f"{mutation:42} {line}", flush=True)
    print(f"{len(MUTATIONS)} protections taken out, {wrong} not as expected")
    return 1 if wrong else 0


def _without(index: int) -> tuple[str, str, bool]:
    mutation = MUTATIONS[index]
    with mutated(mutation):
        failing = list(islice(_failing(seeds_of(mutation)), 3))
    if not failing:
        why = mutation.survives or "NOTHING NOTICES"
        return mutation.name, f"survives: {why}", bool(mutation.survives)
    found = ", ".join(str(result.seed) for result in failing)
    return mutation.name, f"seeds {found}: {failing[0].violations[0]}", True


def _failing(seeds: Iterable[int]) -> Iterable[Result]:
    return (result for seed in seeds if (result := run(seed)).violations)


if __name__ == "__main__":
    sys.exit(main())
