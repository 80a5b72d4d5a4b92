"""The program ``dataflow`` as its own process: started, waited for, measured, and always ended."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.data import DATA
from bench.peers.timing import cpu_s, peak_rss_mib

READY_S_MAX = 60
"""Ten times what starting over 10,000 pipelines may take."""

STOP_S_MAX = 30
"""Longer than a server takes for its last checkpoints, even where the disk is slow."""

POLL_S = 0.002
"""A hundredth of what a start takes."""

_LOG_SHOWN = 4_000
"""Characters of a failed server's log: a stack trace and its error."""


class Server:
    """A running server, as the system sees it."""

    def __init__(self, process: subprocess.Popen[bytes], http_port: int, grpc_port: int) -> None:
        self._process = process
        self.http_port = http_port
        self.grpc = f"127.0.0.1:{grpc_port}"

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def is_ready(self) -> bool:
        """Ask ``/ready``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=READY_S_MAX)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == http.client.OK
        except ConnectionError:
            return False
        finally:
            connection.close()

    def cpu_s(self) -> float:
        """Return the seconds of CPU it has used, its ended children's included."""
        return cpu_s(self.pid)

    def peak_rss_mib(self) -> float:
        """Return the most memory it has held so far."""
        return peak_rss_mib(self.pid)

    def whole_cpu_s(self) -> float:
        """Return the seconds of CPU that it and its worker processes have used."""
        return sum(map(cpu_s, self._processes()))

    def whole_rss_mib(self) -> float:
        """Return the most memory that it and its worker processes have held, each by itself."""
        return sum(map(peak_rss_mib, self._processes()))

    def _processes(self) -> list[int]:
        tasks = Path(f"/proc/{self.pid}/task")
        began = [(task / "children").read_text() for task in tasks.iterdir()]
        return [self.pid, *(int(pid) for text in began for pid in text.split())]

    def rss_mib(self) -> float:
        """Return the memory it holds now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def stop(self) -> None:
        """End it as an operator would, and for certain."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S_MAX)
        if self.running:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of one measurement; everything in it is removed at the end."""

    folder: Path

    @property
    def data(self) -> Path:
        """The server's data directory; it may serve several servers, one after another."""
        return self.folder / "data"

    @contextmanager
    def server(self, settings: Mapping[str, str] | None = None) -> Iterator[tuple[Server, float]]:
        """Return a ready server on this folder, and how long it took to become ready.

        Args:
            settings: variables beside those that every measurement sets.

        Raises:
            RuntimeError: it ended, or was not ready in time; with the end of its log.
        """
        http_port, grpc_port = free_port(), free_port()
        with (self.folder / "log").open("w+b") as log:
            started = time.perf_counter()
            process = self._start(http_port, grpc_port, log, settings or {})
            server = Server(process, http_port, grpc_port)
            try:
                while not server.is_ready():
                    if not server.running or time.perf_counter() - started > READY_S_MAX:
                        log.seek(0)
                        shown = log.read()[-_LOG_SHOWN:].decode(errors="replace")
                        raise RuntimeError(f"the server did not get ready: {shown}")
                    time.sleep(POLL_S)
                yield server, time.perf_counter() - started
            finally:
                server.stop()

    def _start(
        self, http_port: int, grpc_port: int, log: IO[bytes], more: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        settings = {
            **more,
            "DATAFLOW_HTTP_ADDRESS": f"127.0.0.1:{http_port}",
            "DATAFLOW_GRPC_ADDRESS": f"127.0.0.1:{grpc_port}",
            "DATAFLOW_DATA_DIR": str(self.data),
            "DATAFLOW_LOG_FORMAT": "json",
        }
        program = Path(sys.executable).with_name("dataflow")
        return subprocess.Popen([program], env=os.environ | settings, stderr=log)


@contextmanager
def place() -> Iterator[Place]:
    """Return a new folder beside the inputs, on the same disk, and remove it in the end."""
    DATA.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=DATA))
    try:
        yield Place(folder)
    finally:
        shutil.rmtree(folder)


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
