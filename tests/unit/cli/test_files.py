"""YAML as it is read: no surprise becomes a spec."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dataflow.cli.files import Loader, load
from dataflow.core.errors import Rejected


def test_moments_stay_text() -> None:
    """They are passed on as JSON, which has no dates."""
    assert yaml.load("at: 2026-05-01", Loader) == {"at": "2026-05-01"}  # noqa: S506 - a SafeLoader


def test_the_order_of_keys_is_kept() -> None:
    """Computed columns are computed in it."""
    assert list(yaml.load("{b: 1, a: 2}", Loader)) == ["b", "a"]  # noqa: S506 - a SafeLoader


def test_the_library_s_own_loader_is_left_alone() -> None:
    """Its tables are shared by every user in the process."""
    assert yaml.safe_load("at: 2026-05-01")["at"].year == 2026


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "more than 100000 values"),
        ("a: &a [*a]", "more than 100000 values"),
        ("a: " + "[" * 5_000 + "]" * 5_000, "too deep"),
    ],
)
def test_a_document_that_would_fill_the_memory_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    """A few lines of aliases stand for a billion values once somebody writes them out."""
    path = tmp_path / "bomb.yaml"
    path.write_text(text)
    with pytest.raises(Rejected, match=said):
        load(str(path))


def test_aliases_are_taken(tmp_path: Path) -> None:
    """They save repeating a source in several pipelines of a file."""
    path = tmp_path / "shared.yaml"
    path.write_text("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n")
    assert load(str(path)) == [{"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}]
