"""A campaign: ``python -m tests.fault.cluster --rounds 40 --seed 7`` breaks a cluster at random.

It prints what it did, what it found, and how much was done meanwhile; it ends with 1 if it found
anything. ``--only`` names the faults to draw from.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from random import Random

from tests.fault.cluster.background import background
from tests.fault.cluster.faults import FAULTS
from tests.fault.cluster.rounds import Rounds, Told
from tests.fault.cluster.stage import staged
from tests.fault.cluster.takeover import takeovers

START_S = 300.0
ROUND_S = 600.0


def main() -> int:
    """Run a campaign."""
    given = _given()
    draw = Random(given.seed)
    names = given.only or sorted(FAULTS)
    sums: Counter[str] = Counter()
    folder = Path(tempfile.mkdtemp(prefix="dataflow-nemesis-"))
    _say(f"seed {given.seed}, everything is in {folder}")
    settings = {"PYTHONPATH": given.code} if given.code else {}
    cluster = staged(folder / "servers", workers=given.workers, **settings)
    with background() as loop, loop.entered(cluster, START_S) as stage:
        rounds = Rounds(stage, folder)
        for number in range(given.rounds):
            name = names[number] if number < len(names) and given.each else draw.choice(names)
            _say(f"round {number + 1}: {name}")
            try:
                told = loop.run(rounds.one(FAULTS[name], draw), ROUND_S)
            except Exception:  # noqa: BLE001 - it is shown, and the rounds go on
                told = Told([traceback.format_exc()])
            sums.update(
                accepted=told.accepted,
                rejected=told.rejected,
                attempts=told.attempts,
                rows=told.rows,
                findings=len(told.findings),
            )
            _say(f"  {told.accepted} commands acknowledged, {told.rows} rows, {told.seconds:.0f} s")
            for finding in told.findings:
                _say(f"  FOUND {finding}")
            if told.findings and given.first:
                break
        for number in range(given.takeovers):
            work = takeovers(stage, folder, f"takeover-{number}", draw)
            seconds = [f"{one:.1f}" for one in sorted(loop.run(work, ROUND_S))]
            _say(f"killed an owner; its pipelines decided again after {', '.join(seconds)} s")
        _say(f"done {dict(stage.done)}")
    _say(f"in all {dict(sums)}")
    return 1 if sums["findings"] else 0


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fault.cluster", description=__doc__)
    parser.add_argument("--rounds", type=int, default=len(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--takeovers", type=int, default=0, help="kills that are timed, after all")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--code", help="a folder whose code the nodes run, instead of this one's")
    parser.add_argument("--first", action="store_true", help="end with the first finding")
    parser.add_argument("--each", action="store_true", help="each fault once before any twice")
    parser.add_argument("--only", nargs="*", choices=sorted(FAULTS))
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program for people


if __name__ == "__main__":
    sys.exit(main())
