"""What the program is told by its surroundings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from dataflow.app import node_program
from dataflow.app.settings import Settings, load
from dataflow.core.errors import Rejected


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


def test_a_secret_is_told_to_worker_processes_alone() -> None:
    """They need it; whoever prints settings, or reads what was printed, does not."""
    settings = Settings.model_validate({"s3_secret_access_key": "hunter2", "workers": 2})
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert Settings.model_validate_json(settings.told()) == settings


@pytest.mark.parametrize("url", ["/objects", "s3:bucket", "http://bucket", "file://"])
def test_an_object_store_is_a_folder_or_a_bucket(url: str) -> None:
    """By its address; what is none would be found out at the first bad record."""
    with pytest.raises(ValidationError, match="object_store"):
        Settings(object_store=url)


def test_a_node_of_a_cluster_wants_an_object_store_that_others_reach() -> None:
    """Dead letters in one node's folder would be gone, and a takeover with them."""
    with pytest.raises(Rejected, match="every node reaches"):
        node_program.reachable(Settings())


@pytest.mark.parametrize(
    ("settings", "where", "python"),
    [
        ({}, "alone", "allowed"),
        ({}, "cluster", "refused"),
        ({"file_roots": ["/data"]}, "alone", "refused"),
        ({"insecure_bind": True}, "alone", "refused"),
        ({"insecure_bind": True, "python": "allowed"}, "cluster", "allowed"),
        ({"python": "refused"}, "alone", "refused"),
    ],
)
def test_functions_run_by_default_where_their_users_could_run_programs_anyway(
    settings: Mapping[str, object], where: str, python: str
) -> None:
    """On a laptop nobody else reaches the program, and it writes wherever its user can."""
    told = Settings.model_validate(settings).with_python(alone=where == "alone")
    assert told.python == python
