"""One life of the process of a ``python`` step, as the platform sees it.

A batch is asked about by one message over a socket pair, and answered by one; the rows lie in
shared memory. The process ends when its end of another pair closes: see ``program``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dataflow.connect import Rejected, Unavailable
from dataflow.transforms.python.memory import resident
from dataflow.transforms.python.said import Said
from dataflow.transforms.python.shared import Given, Returned
from dataflow.transforms.python.spawning import Program, spawn
from dataflow.transforms.python.working import MESSAGE_BYTES_MAX, SAME

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflow.connect import Context

LOOK_EVERY_S = 0.05
"""How often memory is looked at: what a process can take meanwhile is some 100 MiB."""

END_S = 0.5
"""For the keeper to kill what it keeps; then it is killed itself. Half of the second within which
a function that takes too long is promised to be gone."""


class Fault(Exception):
    """The function has failed with one batch: the reason, as people read it."""

    def __init__(self, reason: str, lines: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lines = lines
        """The calls in the user's code, the last where it was raised."""


class Process:
    """A running process. One thread asks it; ``end`` may be called from any."""

    def __init__(self, program: Program, context: Context, said: Said) -> None:
        """Begin it.

        Raises:
            Unavailable: the system refuses.
        """
        self._program = program
        self._clock = context.clock
        self._given = Given()
        self._returned = Returned()
        self._worker = 0
        self._ended_for = ""
        self._how = "its process was killed with its keeper"
        self._looked_s = self._clock.steady()
        try:
            self._popen, self._work, self._watch, pipe = spawn(program)
        except OSError as error:
            raise Unavailable(f"no process could be begun: {error.strerror}") from error
        said.listen(pipe)
        self._ears = select.poll()
        self._ears.register(self._work, select.POLLIN)
        self._ears.register(self._watch, select.POLLIN)

    @property
    def pid(self) -> int:
        """Return the process id of the keeper, whose children are the rest."""
        pid: int = self._popen.pid
        return pid

    @property
    def has_ended(self) -> bool:
        """Tell whether it can be asked no more."""
        return self._popen.poll() is not None

    def load(self, limit: timedelta) -> None:
        """Wait until the function has been imported.

        Raises:
            Rejected: it cannot be.
            Unavailable: the process has ended meanwhile, or was ended for taking too long.
        """
        try:
            answer = self._hear(limit, "importLimit")
        except Fault as fault:
            raise Unavailable(f"importing it: {fault.reason}", field="options.function") from fault
        if unloaded := answer.get("unloaded"):
            self.end()
            raise Rejected(self._unloaded(unloaded), field="options.function") from Fault(
                unloaded["message"], unloaded["lines"]
            )

    def call(self, batch: pa.RecordBatch, limit: timedelta) -> pa.RecordBatch:
        """Return what the function makes of a batch.

        Raises:
            Fault: it has raised, has returned no batch, or its process has ended.
            Unavailable: there is no memory to share.
        """
        length, fds = self._given.write(batch)
        message = json.dumps({"length": length}).encode()
        try:
            socket.send_fds(self._work, [message], fds)
        except OSError:  # it has ended: why is heard next
            pass
        finally:
            for fd in fds:
                os.close(fd)
        answer = self._hear(limit, "timeLimit")
        if answer.get("held"):
            self._given.leave()
        if raised := answer.get("raised"):
            raise Fault(_shown(raised), raised["lines"])
        if "wrong" in answer:
            raise Fault(answer["wrong"])
        try:
            return _with_same(self._returned.read(answer["length"]), batch)
        except Exception as error:  # whatever Arrow makes of damaged bytes
            raise Fault(f"it returned a damaged batch: {error}") from error

    def end(self, reason: str = "the step was closed") -> None:
        """Kill it and all that it has begun, and wait until it is gone."""
        self._ended_for = self._ended_for or reason
        with suppress(OSError):  # it is gone already
            self._watch.shutdown(socket.SHUT_WR)
        try:
            self._popen.wait(END_S)
        except subprocess.TimeoutExpired:
            self._kill()
            self._popen.wait()

    def close(self) -> None:
        """End it and let go of the sockets; nobody asks it any more."""
        self.end()
        self._work.close()
        self._watch.close()

    def _kill(self) -> None:
        """Kill a keeper that does not answer, and the group that it keeps."""
        for group in (self._worker, self._popen.pid):
            if group:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)

    # --- hearing ---------------------------------------------------------------------------------

    def _hear(self, limit: timedelta, option: str) -> dict[str, Any]:
        """Return the next answer.

        Raises:
            Fault: there will be none; the process is gone.
        """
        until = self._clock.steady() + limit.total_seconds()
        while True:
            left = until - self._clock.steady()
            if left <= 0:
                self.end(f"it took longer than {option}, {_seconds(limit)}, and was ended")
            self._look()
            for ready, _ in self._ears.poll(max(0.0, min(left, LOOK_EVERY_S)) * 1e3):
                if ready == self._work.fileno():
                    if answer := self._answered():
                        return answer
                elif not self._kept():
                    self.end("")
                    raise Fault(self._ended_for or self._how)

    def _answered(self) -> dict[str, Any] | None:
        """Take an answer; None where the process can say nothing more."""
        message, fds, _, _ = socket.recv_fds(self._work, MESSAGE_BYTES_MAX, 1)
        for fd in fds:
            with suppress(ValueError):  # said when it is read
                self._returned.take(fd)
        if not message:
            self._ears.unregister(self._work)
            return None
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _kept(self) -> bool:
        """Take what the keeper says; returns whether it goes on."""
        try:
            message = self._watch.recv(MESSAGE_BYTES_MAX)
        except OSError:
            return False
        told = json.loads(message) if message else {}
        self._worker = told.get("worker", self._worker)
        if "status" in told:
            self._how = _how(told["status"])
        return "worker" in told

    def _look(self) -> None:
        """End it where it holds too much memory; looks only now and then."""
        now = self._clock.steady()
        if now - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now
        limit = self._program.memory_limit
        if not self._ended_for and resident(self._popen.pid) > limit:
            self.end(f"it took more memory than memoryLimit, {limit >> 20} MiB, and was ended")

    def _unloaded(self, raised: Mapping[str, Any]) -> str:
        module = self._program.function.partition(":")[0]
        missing = raised["missing"]
        if missing and f"{module}.".startswith(f"{missing}."):
            where = "in pythonPath or " if self._program.path else ""
            return (
                f"this node has no module {missing!r} {where}among the packages of its Python;"
                " install it there, or name its folder in pythonPath"
            )
        return f"importing it: {_shown(raised)}"


def _with_same(made: pa.RecordBatch, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a result with the columns that went in and came back as they were."""
    import pyarrow as pa  # noqa: PLC0415 - loaded by whoever brings a batch

    columns: list[Any] = []
    for field, column in zip(made.schema, made.columns, strict=True):
        same = (field.metadata or {}).get(SAME)
        columns.append(column if same is None else batch.column(int(same)))
    return pa.RecordBatch.from_arrays(columns, names=made.schema.names)


def _shown(raised: Mapping[str, Any]) -> str:
    said = f"{raised['type']}: {raised['message']}" if raised["message"] else raised["type"]
    return f"{said} ({raised['at']})" if raised["at"] else said


def _how(status: int) -> str:
    if status >= 0:
        return f"its process exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    memory = "; the system does that where memory is out" if -status == signal.SIGKILL else ""
    return f"its process was killed by {name}{memory}"


def _seconds(limit: timedelta) -> str:
    return f"{limit.total_seconds():g}s"
