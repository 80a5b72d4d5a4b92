"""What the program is told by its surroundings."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.app.settings import load


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files and shells set what is missing to nothing, and nothing is no folder."""
    monkeypatch.setenv("DATAFLOW_DATA_DIR", "")
    monkeypatch.setenv("DATAFLOW_FILE_ROOTS", "")
    assert load(None).data_dir == Path("data")
    assert load(None).file_roots == ()


def test_a_variable_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file is of the image, the variable of this machine."""
    (tmp_path / "dataflow.toml").write_text('data_dir = "of-the-file"')
    monkeypatch.setenv("DATAFLOW_DATA_DIR", "of-the-variable")
    assert load(tmp_path / "dataflow.toml").data_dir == Path("of-the-variable")
