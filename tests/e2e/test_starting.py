"""What keeps the program from starting is one clear line and an exit code, never a traceback."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.e2e.programs import (
    DATAFLOW,
    PATIENCE_S,
    Server,
    api,
    environment,
    launch,
    refusing,
    serving,
    until,
)
from tests.e2e.specs import generated, line

CORRUPTED = 70
"""EX_SOFTWARE of sysexits.h: stop and page someone."""

WITHOUT_PRIVILEGES: Sequence[str] = (
    ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
)
"""So that root is refused what another user would be."""


def configured(folder: Path, text: str) -> tuple[int, str]:
    """Start the program with a configuration file; return its exit code and what it said."""
    (folder / "dataflow.toml").write_text(text)
    return with_arguments(folder, "--config", "dataflow.toml")


def with_arguments(folder: Path, *arguments: str) -> tuple[int, str]:
    """Start the program with arguments."""
    done = subprocess.run(
        [DATAFLOW, *arguments],
        cwd=folder,
        env=environment({"DATAFLOW_DATA_DIR": str(folder / "data")}),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stderr


def test_a_second_program_over_the_same_data_names_the_first(server: Server) -> None:
    """Two writers would tear the journal, and an operator must find the other one."""
    code, said = refusing(server.folder.parent, {"DATAFLOW_DATA_DIR": str(server.data)})
    assert code == 1
    assert said == (
        f"dataflow: {server.data} is in use by process {server.process.pid}; stop it, or choose"
        " another data directory\n"
    )


@pytest.mark.parametrize("setting", ["DATAFLOW_HTTP_ADDRESS", "DATAFLOW_GRPC_ADDRESS"])
def test_a_port_in_use_is_named_with_its_setting(folder: Path, setting: str) -> None:
    """The remedy is in the message: the address, and what to set instead."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = refusing(folder, {setting: address})
    assert code == 1
    assert said == (
        f"dataflow: {setting}: {address} is in use by another program; stop that one or choose"
        " another port\n"
    )


def test_an_address_that_others_reach_needs_so_many_words(folder: Path) -> None:
    """Nothing is encrypted, so a slip of configuration must not open the server to a network."""
    code, said = refusing(folder, {"DATAFLOW_HTTP_ADDRESS": "0.0.0.0:0"})
    assert code == 1
    assert "can be reached from other machines" in said
    assert "insecure_bind" in said


def test_an_unknown_setting_is_named_with_those_there_are(folder: Path) -> None:
    """A misspelt setting that is ignored is one that is believed to hold."""
    code, said = configured(folder, 'data_dirr = "x"\nlog_format = "loud"\n')
    assert code == 1
    assert "data_dirr: unknown setting; one of http_address, grpc_address, data_dir" in said
    assert "log_format (DATAFLOW_LOG_FORMAT): Input should be 'console' or 'json'" in said


def test_toml_that_cannot_be_read_is_located(folder: Path) -> None:
    """A file of settings is written by hand."""
    code, said = configured(folder, 'data_dir = "x"\nlog_format = \n')
    assert code == 1
    assert said.startswith("dataflow: --config: dataflow.toml: ")
    assert "line 2, column" in said


def test_a_configuration_file_that_is_not_there_is_named(folder: Path) -> None:
    """Going on with defaults would be another server than the one that was asked for."""
    code, said = with_arguments(folder, "--config", "none.toml")
    assert (code, said) == (1, "dataflow: --config: none.toml: No such file or directory\n")


def test_an_unknown_argument_is_a_wrong_usage(folder: Path) -> None:
    """As every program of the system has it: 2."""
    code, said = with_arguments(folder, "--port", "1")
    assert code == 2
    assert "No such option '--port'" in said


def test_variables_win_over_the_file(folder: Path) -> None:
    """A container sets variables over an image's file."""
    (folder / "dataflow.toml").write_text('data_dir = "from-file"\nhttp_address = "nonsense"\n')
    with serving(folder, arguments=["--config", "dataflow.toml"]) as server:
        assert server.addresses["data"] == str(folder / "data")
    assert not (folder / "from-file").exists()


def test_the_log_is_for_people_unless_told_otherwise(folder: Path) -> None:
    """Lines at a terminal; every other test here reads the format for programs."""
    server = launch(folder, {"DATAFLOW_LOG_FORMAT": "console"})
    try:
        until(lambda: "ready" in server.err)
    finally:
        server.stop()
    assert "{" not in server.err
    assert "stopping" in server.err


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a server that has run pipelines and was stopped."""
    folder = tmp_path_factory.mktemp("stopped")
    with serving(folder) as server, api(server) as http:
        for _ in range(3):
            http.run(line(generated(100), {"sinkType": "console"}))
    return folder


@pytest.fixture
def damaged(stopped: Path, folder: Path) -> Path:
    """Return a copy of its data, to be damaged."""
    shutil.copytree(stopped / "data", folder / "data")
    return folder


def test_a_flipped_byte_in_the_journal_stops_the_start_and_is_located(damaged: Path) -> None:
    """An event that was changed is no audit trail: better no service than a wrong history."""
    with sqlite3.connect(damaged / "data" / "journal.db") as journal:
        position, shard, offset, payload = journal.execute(
            "SELECT position, shard, offset, payload FROM log WHERE type = 'PipelineStarted'"
        ).fetchone()
        flipped = bytes([payload[0] ^ 1, *payload[1:]]) if payload else b"\x01"
        journal.execute("UPDATE log SET payload = ? WHERE position = ?", (flipped, position))
    journal.close()
    code, said = refusing(damaged)
    assert code == CORRUPTED
    assert "journal.db" in said
    assert f"shard {shard}: record {offset} is not what was written" in said
    assert said.count("\n") == 1


def test_a_removed_event_stops_the_start(damaged: Path) -> None:
    """A gap is as bad as a change, and where it is can be told as well."""
    with sqlite3.connect(damaged / "data" / "journal.db") as journal:
        shard, offset = journal.execute(
            "SELECT shard, offset FROM log WHERE type = 'PipelineStarted'"
        ).fetchone()
        journal.execute("DELETE FROM log WHERE shard = ? AND offset = ?", (shard, offset))
    journal.close()
    code, said = refusing(damaged)
    assert code == CORRUPTED
    assert f"shard {shard}: record {offset} is missing" in said


def test_a_truncated_journal_stops_the_start(damaged: Path) -> None:
    """Half a file must not be taken for a short history."""
    journal = damaged / "data" / "journal.db"
    with journal.open("r+b") as file:
        file.truncate(journal.stat().st_size // 2)
    code, said = refusing(damaged)
    assert code == CORRUPTED
    assert "journal.db" in said
    assert "Traceback" not in said


def test_a_journal_that_is_something_else_stops_the_start(damaged: Path) -> None:
    """Nothing is overwritten that is not understood."""
    journal = damaged / "data" / "journal.db"
    journal.write_bytes(b"not a database at all, and longer than its header" * 100)
    before = journal.read_bytes()
    code, said = refusing(damaged)
    assert code == CORRUPTED
    assert "journal.db" in said
    assert journal.read_bytes() == before


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: os.truncate(path, 0)])
def test_a_lost_journal_stops_the_start(damaged: Path, lose: Callable[[Path], None]) -> None:
    """A new one would list pipelines that it denies, and give their ids away again."""
    lose(damaged / "data" / "journal.db")
    code, said = refusing(damaged)
    assert code == CORRUPTED
    assert f"{damaged / 'data' / 'journal.db'} is" in said
    assert "the journal was lost; restore the data directory from a backup" in said
    assert said.count("\n") == 1


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a server that was killed after it had shown thirty pipelines."""
    folder = tmp_path_factory.mktemp("killed")
    with serving(folder) as server, api(server) as http:
        for _ in range(30):
            http.create(line(generated(100), {"sinkType": "console"}))
        assert http.get("/pipelines")["total"] == 30
        server.kill()
    return folder


@pytest.fixture
def unclosed(killed: Path, folder: Path) -> Path:
    """Return a copy of its data, to be damaged."""
    shutil.copytree(killed / "data", folder / "data")
    return folder


@pytest.mark.parametrize(
    "cut",
    [
        lambda path: os.truncate(path, path.stat().st_size // 3),
        lambda path: os.truncate(path, 0),
        Path.unlink,
    ],
    ids=["a third left", "empty", "gone"],
)
def test_a_cut_write_ahead_log_stops_the_start(unclosed: Path, cut: Callable[[Path], None]) -> None:
    """SQLite takes what is left for all there was; the views have seen more."""
    cut(unclosed / "data" / "journal.db-wal")
    for _ in range(2):
        code, said = refusing(unclosed)
        assert code == CORRUPTED
        assert str(unclosed / "data" / "journal.db") in said
        assert "restore the data directory from a backup" in said
        assert said.count("\n") == 1


def test_without_the_views_what_is_left_of_a_cut_log_is_served(unclosed: Path) -> None:
    """Who has no backup may go on: what is listed then is what is there."""
    log = unclosed / "data" / "journal.db-wal"
    os.truncate(log, log.stat().st_size * 2 // 3)
    code, said = refusing(unclosed)
    assert code == CORRUPTED
    assert "shard " in said
    assert "acknowledged events are lost" in said
    assert "remove views.db to go on with what is left" in said
    (unclosed / "data" / "views.db").unlink()
    with serving(unclosed) as server, api(server) as http:
        shown = http.get("/pipelines", pageSize=100)["pipelines"]
        assert 0 < len(shown) < 30
        for pipeline in shown:
            http.pipeline(pipeline["pipelineId"])


def test_a_journal_that_may_not_be_read_is_named(damaged: Path) -> None:
    """Restored by another user, as backups are: which file, and what it needs."""
    journal = damaged / "data" / "journal.db"
    journal.chmod(0)
    code, said = refusing(damaged, prefix=WITHOUT_PRIVILEGES)
    assert code == 1
    assert said == (
        f"dataflow: {journal}: Permission denied; this user must be able to read and write the"
        " file and its folder\n"
    )


def test_a_folder_in_the_journals_place_is_named(damaged: Path) -> None:
    """A volume mounted one level too deep looks like this."""
    journal = damaged / "data" / "journal.db"
    journal.unlink()
    journal.mkdir()
    code, said = refusing(damaged)
    assert code == 1
    assert said == (
        f"dataflow: {journal} is a folder; put the journal in its place, or choose another data"
        " directory\n"
    )


def test_lost_views_are_made_again_from_the_journal(damaged: Path) -> None:
    """The views are a projection: losing them costs a moment and no history."""
    for path in (damaged / "data").glob("views.db*"):
        path.unlink()
    with serving(damaged) as server, api(server) as http:
        shown = http.get("/pipelines")
        assert [p["status"] for p in shown["pipelines"]] == ["stopped"] * 3
        first = shown["pipelines"][0]["pipelineId"]
        events = http.get(f"/pipelines/{first}/events")["events"]
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
