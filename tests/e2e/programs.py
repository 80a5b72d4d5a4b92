"""The installed programs as processes, started as a user starts them.

Nothing here reaches into the platform: what a test knows of a server is what the server wrote to
its streams and what its addresses answer.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

BIN = Path(sys.executable).parent
DATAFLOW, DATAFLOWCTL = str(BIN / "dataflow"), str(BIN / "dataflowctl")

PATIENCE_S = 40.0
"""The longest that anything here is waited for: far above what a busy machine needs."""

T = TypeVar("T")
Document = dict[str, Any]


def until(found: Callable[[], T], what: object = "", patience_s: float = PATIENCE_S) -> T:
    """Ask again and again until the answer is true; return it."""
    deadline = time.monotonic() + patience_s
    while not (answer := found()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s:g} s: {what or found}; last {answer!r}")
        time.sleep(0.01)
    return answer


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's variables without settings of its own, and with those given."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("DATAFLOW_")}
    return {**kept, **settings}


@dataclass
class Server:
    """One life of the program ``dataflow`` over a folder."""

    folder: Path
    process: subprocess.Popen[bytes]
    addresses: Document = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """Return its data directory."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """Return where it serves HTTP."""
        return f"http://{self.addresses['http']}"

    @property
    def grpc(self) -> str:
        """Return where it serves gRPC."""
        return str(self.addresses["grpc"])

    @property
    def out(self) -> str:
        """Return what all lives over the folder have written to standard output."""
        return (self.folder / "stdout").read_text()

    @property
    def err(self) -> str:
        """Return what this life has written to standard error."""
        return (self.folder / "stderr").read_text()

    def logged(self, event: str) -> Sequence[Document]:
        """Return the lines of its log about one event."""
        lines = [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Return its exit code, minus the signal that ended it."""
        return self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        """End it as an operator does."""
        self.send(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """End it as a power cut does."""
        self.send(signal.SIGKILL)
        self.ended()


def launch(
    folder: Path,
    settings: Mapping[str, str],
    arguments: Sequence[str] = (),
    prefix: Sequence[str] = (),
) -> Server:
    """Start the program, behind ``prefix``; what it writes goes to files in the folder."""
    chosen = {
        "DATAFLOW_HTTP_ADDRESS": "127.0.0.1:0",
        "DATAFLOW_GRPC_ADDRESS": "127.0.0.1:0",
        "DATAFLOW_DATA_DIR": str(folder / "data"),
        "DATAFLOW_LOG_FORMAT": "json",
        **settings,
    }
    with (folder / "stdout").open("ab") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            [*prefix, DATAFLOW, *arguments],
            cwd=folder,
            env=environment(chosen),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    return Server(folder, process)


@contextmanager
def serving(
    folder: Path,
    settings: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    prefix: Sequence[str] = (),
) -> Iterator[Server]:
    """Run the program until the block is left; it is ready when the block begins."""
    server = launch(folder, settings or {}, arguments, prefix)
    try:
        until(lambda: server.logged("ready") or server.process.poll() is not None, "ready")
        code = server.process.poll()
        assert code is None, f"ended with {code} before it was ready, saying {server.err!r}"
        server.addresses = server.logged("ready")[0]
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def refusing(
    folder: Path, settings: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
) -> tuple[int, str]:
    """Start the program where it must not start; return its exit code and what it said."""
    server = launch(folder, settings or {}, prefix=prefix)
    try:
        return server.ended(), server.err
    finally:
        if server.process.poll() is None:
            server.kill()


def ctl(
    server: str, *arguments: str, stdin: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``dataflowctl`` to its end."""
    return subprocess.run(
        [DATAFLOWCTL, *arguments],
        env=environment({"DATAFLOW_SERVER": server, "COLUMNS": "200"}),
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


class Api:
    """The HTTP API of a server, as curl would use it."""

    def __init__(self, server: Server) -> None:
        self.client = httpx.Client(base_url=f"{server.url}/api/v1", timeout=PATIENCE_S)

    def close(self) -> None:
        """Close its connections."""
        self.client.close()

    def get(self, path: str, **query: Any) -> Document:  # noqa: ANN401 - any parameter
        """Return what a path shows."""
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        shown: Document = answer.json()
        return shown

    def post(self, path: str, body: object = None, status: int = 200) -> Document:
        """Return what a path answers to a body."""
        answer = self.client.post(path, json=body if body is not None else {})
        assert answer.status_code == status, answer.text
        told: Document = answer.json()
        return told

    def create(self, spec: Document) -> str:
        """Make a pipeline; return its id."""
        return str(self.post("/pipelines", spec, 201)["pipelineId"])

    def start(self, pipeline: str) -> None:
        """Let it run."""
        self.post(f"/pipelines/{pipeline}/start")

    def pipeline(self, pipeline: str) -> Document:
        """Return everything about one."""
        return self.get(f"/pipelines/{pipeline}")

    def rested(self, pipeline: str) -> Document:
        """Return it once it no longer runs."""

        def look() -> Document | None:
            shown = self.pipeline(pipeline)
            return shown if shown["status"] != "running" else None

        return until(look, f"{pipeline} rests") or {}

    def completed(self, pipeline: str) -> Document:
        """Return it once it has completed."""
        shown = self.rested(pipeline)
        assert (shown["status"], shown["reason"]) == ("stopped", "completed"), shown.get("error")
        return shown

    def run(self, spec: Document) -> str:
        """Make a pipeline, start it, and return its id once it has completed."""
        pipeline = self.create(spec)
        self.start(pipeline)
        self.completed(pipeline)
        return pipeline

    def failed(self, spec: Document) -> Document:
        """Make a pipeline, start it, and return the error with which it fails."""
        pipeline = self.create(spec)
        self.start(pipeline)
        shown = self.rested(pipeline)
        assert shown["status"] == "failed", shown
        error: Document = shown["error"]
        return error


@contextmanager
def api(server: Server) -> Iterator[Api]:
    """Speak HTTP to a server until the block is left."""
    speaking = Api(server)
    try:
        yield speaking
    finally:
        speaking.close()
