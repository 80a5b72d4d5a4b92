"""What tests do on a machine that cannot have a server, and what a failing one shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

NEEDS = """
from pathlib import Path
from deploy.stack import S3

def test_fixture(s3): ...

def test_private(tmp_path: Path):
    with S3(tmp_path): ...
"""

FAILS = """
from pathlib import Path
from deploy.stack import S3

def test_fails(tmp_path: Path):
    with S3(tmp_path) as store:
        assert not store.address
"""


def pytest_run(folder: Path, tests: str, **variables: str) -> str:
    """Run tests in a process of their own and return what it printed."""
    (folder / "test_it.py").write_text(tests, encoding="utf-8")
    command = ["-m", "pytest", "-p", "tests.servers", "-p", "no:cacheprovider", "-ra", f"{folder}"]
    inherited = {name: text for name, text in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**inherited, "STACK_STATE": f"{folder}/state", **variables},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.stdout


def test_tests_that_need_a_missing_server_are_skipped_with_the_reason(tmp_path: Path) -> None:
    """A developer without Go still runs everything else, and reads what was not run."""
    printed = pytest_run(tmp_path, NEEDS, PATH="/nowhere", STACK_CACHE=f"{tmp_path}/cache")
    assert "2 skipped" in printed
    assert "versitygw needs go, which is not on the path: install Go 1.26 or newer" in printed


def test_a_missing_server_is_a_failure_where_nobody_reads_what_was_skipped(tmp_path: Path) -> None:
    """CI that skipped would say that guarantees hold which nobody has tested."""
    variables = {"PATH": "/nowhere", "STACK_CACHE": f"{tmp_path}/cache", "CI": "true"}
    printed = pytest_run(tmp_path, NEEDS, **variables)
    assert "1 failed, 1 error" in printed


def test_a_failing_test_shows_the_logs_of_its_servers(tmp_path: Path) -> None:
    """Its folder is often gone when somebody looks."""
    printed = pytest_run(tmp_path, FAILS)
    assert "the end of the log of s3," in printed
    assert "http://127.0.0.1:" in printed
