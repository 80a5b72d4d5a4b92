"""Whatever ends the program, at whatever moment: no row is lost, and none is there twice."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.programs import (
    DATAFLOWCTL,
    Api,
    Server,
    api,
    ctl,
    environment,
    launch,
    serving,
    until,
)
from tests.e2e.specs import (
    KEPT,
    SCHEMA,
    expected,
    generated,
    line,
    sink,
    source,
    where,
    write_rows,
    written,
)

KILLS = 10


def causes(http: Api, pipeline: str) -> list[str]:
    """Return why each run of a pipeline began."""
    found = http.get(f"/pipelines/{pipeline}/events", type="RunStarted", pageSize=1000)["events"]
    return [event["runStarted"]["cause"] for event in found]


def processed(http: Api, pipeline: str) -> int:
    """Return how many records are decided."""
    return int(http.pipeline(pipeline)["metrics"]["totalRecordsProcessed"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_the_next_start_goes_on(
    folder: Path, number: signal.Signals
) -> None:
    """The status stays running: an operator restarts the program, not the pipelines."""
    with serving(folder) as server, api(server) as http:
        spec = line(generated(0, 4000), sink(folder / "out.csv"), where("id % 2 = 0"))
        pipeline = http.create({**spec, "pipelineId": "on-and-on"})
        http.start(pipeline)
        until(lambda: processed(http, pipeline) > 200)
        begun = time.monotonic()
        server.send(number)
        assert server.ended() == 0
        assert time.monotonic() - begun < 20
        assert server.logged("stopping")
    rows = written(folder / "out.csv")
    with serving(folder) as server, api(server) as http:
        assert http.pipeline(pipeline)["status"] == "running"
        before = processed(http, pipeline)
        until(lambda: processed(http, pipeline) > before + 200)
        assert causes(http, pipeline) == ["start", "restart"]
        http.post(f"/pipelines/{pipeline}/stop", {"reason": "enough"})
        ledger = http.get(f"/pipelines/{pipeline}/metrics")["ledger"]
    found = written(folder / "out.csv")
    assert found[: len(rows)] == rows
    assert found == [[str(2 * n)] for n in range(len(found))]
    assert ledger["recordsWritten"] == len(found)
    assert ledger["recordsRead"] == ledger["recordsWritten"] + ledger["recordsFiltered"]


def test_killed_again_and_again_it_writes_each_row_once(folder: Path) -> None:
    """Ten lives of the program end by SIGKILL at random moments, starting included."""
    bad = write_rows(folder / "in.csv", 60_000, malformed_every=7001)
    begin = source(folder / "in.csv", schema=SCHEMA, onError="dead-letter") | {"batchSize": 100}
    with serving(folder) as server, api(server) as http:
        pipeline = http.create(line(begin, sink(folder / "out.csv"), *KEPT))
        http.start(pipeline)
        until(lambda: processed(http, pipeline) > 0)
        server.kill()
    moments = random.Random(7)
    for _ in range(KILLS - 1):
        life = launch(folder, {})
        time.sleep(moments.uniform(0.3, 1.1))
        life.kill()
    with serving(folder) as server, api(server) as http:
        http.completed(pipeline)
        assert causes(http, pipeline)[-1] == "restart"
        letters = http.get(f"/pipelines/{pipeline}/deadletters", pageSize=1000)
        ledger = http.get(f"/pipelines/{pipeline}/metrics")["ledger"]
        events = http.get(f"/pipelines/{pipeline}/events", pageSize=1000)["events"]
        listed = ctl(server.grpc, "dlq", "list", pipeline, "-o", "yaml")
    wanted = expected(folder / "in.csv")
    assert written(folder / "out.csv") == wanted
    assert [letter["ordinal"] for letter in letters["deadLetters"]] == bad
    assert letters["total"] == len(bad)
    assert listed.stdout.count("ordinal:") == len(bad)
    assert ledger["recordsRead"] == 60_000
    assert ledger["recordsWritten"] == len(wanted)
    assert ledger["recordsDeadLettered"] == len(bad)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))


def half_read(folder: Path, **options: object) -> str:
    """Kill the program in the middle of one of two files, and take that away."""
    rows = folder / "in"
    rows.mkdir()
    write_rows(rows / "a.csv", 200_000)
    write_rows(rows / "b.csv", 100)
    begin = source(rows, schema=SCHEMA, **options) | {"batchSize": 100}
    with serving(folder) as server, api(server) as http:
        pipeline = http.create(line(begin, sink(folder / "out.csv"), *KEPT))
        http.start(pipeline)
        until(lambda: processed(http, pipeline) > 200)
        server.kill()
    (rows / "a.csv").rename(folder / "a.csv")
    return pipeline


def test_a_half_read_file_that_goes_while_the_program_is_down_is_waited_for(folder: Path) -> None:
    """Without it the pipeline would complete as if all were there."""
    pipeline = half_read(folder)
    with serving(folder) as server, api(server) as http:
        until(lambda: "half read" in http.pipeline(pipeline)["phaseDetail"])
        shown = http.pipeline(pipeline)
        assert (shown["status"], shown["phase"]) == ("running", "waiting")
        assert shown["phaseDetail"].startswith("a.csv: there is no such file any more")
        (folder / "a.csv").rename(folder / "in" / "a.csv")
        http.completed(pipeline)
    wanted = [expected(folder / "in" / f"{name}.csv") for name in "ab"]
    assert written(folder / "out.csv") == [row for rows in wanted for row in rows]


def test_a_half_read_file_that_goes_where_files_are_watched_is_an_error(folder: Path) -> None:
    """As it is where the program is up: a log that goes before it was read has lost rows."""
    pipeline = half_read(folder, watch=True)
    with serving(folder) as server, api(server) as http:
        error = http.rested(pipeline)["error"]
    assert (error["code"], error["step"]) == ("SOURCE_CHANGED", "source")
    assert error["message"].startswith("a.csv: it was deleted with bytes unread")


def pushing(server: Server, pipeline: str, path: Path) -> subprocess.Popen[str]:
    """Start pushing a file, as a user does."""
    return subprocess.Popen(
        [DATAFLOWCTL, "push", pipeline, "-f", str(path), "--batch-records", "200"],
        env=environment({"DATAFLOW_SERVER": server.grpc}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_while_records_are_pushed_it_keeps_each_once(folder: Path) -> None:
    """The sender only sees a pause: what was acknowledged is there, what was not is sent again."""
    records = 60_000
    with (folder / "in.ndjson").open("w") as file:
        file.writelines(f'{{"id": {number}, "note": "n{number}"}}\n' for number in range(records))
    with serving(folder) as server, api(server) as http:
        push = {"sourceType": "push", "options": {"schema": {"id": "int64", "note": "string"}}}
        pipeline = http.create(line(push, sink(folder / "out.csv")))
        http.start(pipeline)
        sender = pushing(server, pipeline, folder / "in.ndjson")
        until(lambda: processed(http, pipeline) > 0)
        server.kill()
    at = {f"DATAFLOW_{kind.upper()}_ADDRESS": server.addresses[kind] for kind in ("http", "grpc")}
    with serving(folder, at) as server, api(server) as http:
        said, failed = sender.communicate(timeout=60)
        assert sender.returncode == 0, failed
        assert "60,000 records in 300 batches" in said
        until(lambda: processed(http, pipeline) == records)
        http.post(f"/pipelines/{pipeline}/stop")
    assert written(folder / "out.csv") == [[str(n), f"n{n}"] for n in range(records)]
