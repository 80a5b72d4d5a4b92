"""Cells and documents."""

from __future__ import annotations

from io import StringIO
from typing import cast

import pytest
from rich.console import Console

from dataflow.cli import printing
from dataflow.cli.failures import exit_code, lines
from dataflow.client.errors import Failed, Unreachable
from dataflow.core.errors import Corrupted, DataFlowError, Rejected, Unavailable, Waiting


def test_a_cell_is_one_line_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """A record that holds escape codes must not drive the terminal that shows it."""
    printing.table(("ID", "TEXT"), [("a", "x\ny\x1b[31m")])
    assert capsys.readouterr().out == "ID  TEXT\na   x y [31m\n"


def test_a_narrow_terminal_cuts_other_columns_than_the_status() -> None:
    """It is what the list is looked at for."""
    columns = ("ID", "STATUS", "SOURCE", "SINK", "VERSION", "UPDATED", "NAME")
    row = ("late-flights-of-a-day", "configured", "generator", "console", 1, "2026-05-01 12", "x")
    narrow = Console(width=60, file=StringIO())
    narrow.print(printing.grid(columns, [row], status=1))
    assert "late-flights-of-a-day  configured" in cast("StringIO", narrow.file).getvalue()


def test_a_path_that_leads_nowhere_is_empty() -> None:
    """Absent parts of a document are absent from its table."""
    assert printing.at({"a": {"b": 1}}, "a.b") == 1
    assert printing.at({"a": {"b": 1}}, "a.b.c") == ""
    assert printing.at({}, "a") == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Rejected("no"), 1),
        (Waiting("a file"), 1),
        (Corrupted("torn"), 1),
        (Failed("oops"), 1),
        (Unavailable("busy"), 3),
        (Unreachable("nobody"), 3),
    ],
)
def test_an_error_has_its_exit_code(error: DataFlowError, code: int) -> None:
    """1 is for the caller to mend, 3 to try later."""
    assert exit_code(error) == code


def test_an_error_says_of_what_with_which_field_and_what_to_do() -> None:
    """One shape for all of them."""
    error = Rejected("use 1 to 3", field="options.parallelism")
    error.add_note("the file is untouched")
    assert lines(error, "flights") == [
        "error: flights: options.parallelism: use 1 to 3 (INVALID)",
        "  the file is untouched",
    ]
