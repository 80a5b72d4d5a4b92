"""What ``--help`` loads, and how long it takes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {"asyncio", "grpc", "google", "rich", "pyarrow", "dataflow.client", "dataflow.wire"}
CPU_SECONDS_MAX = 0.15
"""What a person feels as at once; counted in CPU so that a busy machine is not to blame."""


@pytest.mark.parametrize("arguments", [["--help"], ["get", "--help"], ["apply", "--help"]])
def test_help_loads_nothing_that_it_does_not_need(arguments: list[str]) -> None:
    """GRPC and rich are three times the rest."""
    script = (
        "import sys\nfrom dataflow.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_comes_at_once() -> None:
    """The best of three, as the first one may still write compiled files."""
    spent = []
    for _ in range(3):
        before = os.times()
        subprocess.run(
            [sys.executable, "-c", "from dataflow.cli.main import main; main(['--help'])"],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        after = os.times()
        spent.append(
            after.children_user
            - before.children_user
            + after.children_system
            - before.children_system
        )
    assert min(spent) < CPU_SECONDS_MAX
