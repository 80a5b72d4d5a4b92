"""Rules about the source itself that no linter has, checked like any other behaviour."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path
    for path in (ROOT / "dataflow").rglob("*.py")
    if path.relative_to(ROOT).parts[:2] != ("dataflow", "v1")
)
PYTHON = sorted(
    {
        *MODULES,
        *(
            path
            for top in ("bench", "cmd", "deploy", "tests")
            for path in (ROOT / top).rglob("*.py")
        ),
    }
)
MODULE_LINES_SOFT, MODULE_LINES_HARD = 300, 500
FUNCTION_LINES_MAX = 50
LONG_MODULES: dict[str, str] = {
    "dataflow/core/lifecycle.py": "the table of every state and command, read as one",
}
"""Path of a module past the soft limit -> why it is better whole. This list only shrinks."""

EXCUSE = re.compile(r"#\s*(?:noqa\b|type:\s*ignore\b|pragma:\s*no (?:cover|branch)\b)(?P<rest>.*)")
CODES = re.compile(r"^(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|\[[a-z, -]+\])?")


def name_of(path: Path) -> str:
    """Return the path as a reader of the repository writes it."""
    return path.relative_to(ROOT).as_posix()


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text file."""
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_stay_short(path: Path) -> None:
    """Past 300 lines a module says why; past 500 there is no reason good enough."""
    lines = len(lines_of(path))
    assert lines <= MODULE_LINES_HARD
    assert lines <= MODULE_LINES_SOFT or LONG_MODULES.get(name_of(path))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_fit_on_a_screen(path: Path) -> None:
    """A function longer than a screen hides its end from its beginning."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    long = {
        node.name: (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: n for name, n in long.items() if n > FUNCTION_LINES_MAX} == {}


def test_excuses_for_long_modules_are_still_needed() -> None:
    """A list of exceptions only shrinks: an excuse leaves with the thing that it excused."""
    short = [
        name
        for name in LONG_MODULES
        if not (ROOT / name).exists() or len(lines_of(ROOT / name)) <= MODULE_LINES_SOFT
    ]
    assert short == []


def test_every_ignore_has_a_reason() -> None:
    """An ignore without a reason can never be removed: nobody knows what it was for."""
    bare = [
        f"{name_of(path)}:{number}"
        for path in PYTHON
        for number, line in enumerate(lines_of(path), 1)
        if (found := EXCUSE.search(line)) and not CODES.sub("", found["rest"]).strip(" #:;,-")
    ]
    assert bare == []


def test_tests_use_fakes_and_no_mocks() -> None:
    """A mock agrees with whatever the code does; a fake has to pass the contract's suite."""
    mocking = [
        name_of(path)
        for path in PYTHON
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unittest"))
        or (isinstance(node, ast.Import) and any(n.name.startswith("unittest") for n in node.names))
    ]
    assert mocking == []


@pytest.mark.parametrize("module", ["dataflow.app.standalone", "dataflow.cli.main"])
def test_starting_a_program_loads_no_arrow(module: str) -> None:
    """Arrow and Polars are half of an idle process's memory, and a second of its start."""
    script = f"import sys, {module}; print(*sorted({{'polars', 'pyarrow'}} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (loaded.stdout.split(), loaded.stderr) == ([], "")
