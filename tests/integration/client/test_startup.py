"""What ``--help`` loads: nothing that would keep a person waiting."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"asyncio", "grpc", "google", "rich", "pyarrow", "dataflow.client", "dataflow.wire"}


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
