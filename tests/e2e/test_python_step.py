"""Functions that users bring, in a running program: one that hangs, and who may bring them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tests.e2e.programs import Api, Server, api, serving, until
from tests.e2e.specs import Document, generated, line, sink, written

FUNCTIONS = """
import time
import pyarrow as pa
import pyarrow.compute as pc

def hanging(batch):
    if pc.min(batch["id"]).as_py() == 50:
        time.sleep(600)
    return batch.append_column("twice", pc.multiply(batch["id"], pa.scalar(2)))
"""


def calling(folder: Path, **options: str) -> Document:
    """Return a pipeline of four batches of fifty rows, of which the second hangs."""
    (folder / "orders.py").write_text(FUNCTIONS)
    given = {"function": "orders:hanging", "pythonPath": [str(folder)], "timeLimit": "1s"}
    step = {"id": "doubled", "transformType": "python", "options": {**given, **options}}
    return line(generated(200), sink(folder / "out.csv"), step)


def test_a_batch_that_takes_too_long_goes_as_the_step_says(http: Api, folder: Path) -> None:
    """Its rows are kept as dead letters, and the others arrive."""
    pipeline = http.run(calling(folder, onError="dead-letter"))
    rows = [(int(number), int(twice)) for number, twice in written(folder / "out.csv")]
    assert rows == [(n, 2 * n) for n in [*range(50), *range(100, 200)]]
    letters = http.get(f"/pipelines/{pipeline}/deadletters", pageSize=100)["deadLetters"]
    assert [letter["ordinal"] for letter in letters] == list(range(50, 100))
    reasons = {(letter["step"], letter["error"]) for letter in letters}
    assert reasons == {("doubled", "it took longer than timeLimit, 1s, and was ended")}
    ledger = http.get(f"/pipelines/{pipeline}/metrics")["ledger"]
    assert ledger["recordsWritten"] == 150
    assert ledger["recordsDeadLettered"] == 50


def test_by_default_it_fails_the_pipeline(http: Api, folder: Path) -> None:
    """With the reason, the step and the way on."""
    error = http.failed(calling(folder))
    assert error["code"] == "RECORD_REJECTED"
    said = "doubled: record 50 of 'rows': it took longer than timeLimit, 1s, and was ended"
    assert error["message"].startswith(said)


def test_no_process_outlives_its_run(server: Server, http: Api, folder: Path) -> None:
    """It would hold memory for as long as the program lives."""
    http.run(calling(folder, onError="skip"))
    until(lambda: not keepers(server), "the processes of its functions have ended")


def keepers(server: Server) -> list[str]:
    """Return the children of the program that run functions."""
    found = []
    for folder in Path(f"/proc/{server.process.pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread or a child has ended
            for pid in (folder / "children").read_text().split():
                if b"transforms.python" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found += [pid]
    return found


def test_an_operator_can_refuse_functions(folder: Path) -> None:
    """Whoever can start a pipeline could run programs there."""
    with serving(folder, {"DATAFLOW_PYTHON": "refused"}) as server, api(server) as http:
        error = http.failed(calling(folder))
    assert error["code"] == "PERMISSION"
    assert "DATAFLOW_PYTHON=allowed" in error["message"]
