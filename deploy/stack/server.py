"""One server process: started, waited for, ended and frozen by its own pid, never by its name."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from deploy.stack import keeper
from deploy.stack.errors import NotReady, PortTaken
from deploy.stack.identity import STOPPED, Identity, identify, load, save, tree
from deploy.stack.plan import DATA, Plan, as_nobody
from deploy.stack.ports import is_free

READY_S_MAX = 180
"""Cassandra takes 12 s on two idle cores; a test machine may be ten times busier."""

STOP_S_MAX = 30
"""Then it is killed: what runs here has to survive that anyway."""

POLL_S = 0.02

LOG_SHOWN = 6_000
"""Characters: a stack trace of Java and the lines before it."""

LOG_BYTES_MAX = 50 << 20
"""A log that grew past this begins again with the next start."""

_KEPT_VARIABLES = ("PATH", "LANG", "TMPDIR", "JAVA_HOME")
"""A server is the same whoever starts it, so it gets no more of the starter's environment."""


class Server:
    """A plan and the process that carries it out, if one runs.

    A private one (``kept=False``) ends with the process that started it, however that ends.
    """

    def __init__(self, plan: Plan, *, kept: bool) -> None:
        self.plan = plan
        self._kept = kept
        self._pid_file = plan.folder / "pid"
        self._plan_file = plan.folder / "plan"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """All that the process printed."""
        return self.plan.folder / "log"

    @property
    def running(self) -> bool:
        """Whether the process that was started is there, frozen or not."""
        return self._alive() is not None

    @property
    def pid(self) -> int:
        """The number of the running process.

        Raises:
            ProcessLookupError: it does not run.
        """
        if (alive := self._alive()) is None:
            raise ProcessLookupError(f"{self.plan.name} does not run")
        return alive.pid

    @property
    def exit_code(self) -> int | None:
        """How the process that was started here has ended, minus the signal; None while it runs."""
        return None if self._child is None else self._child.poll()

    @property
    def as_planned(self) -> bool:
        """Whether it runs with the settings of this plan."""
        try:
            return self.running and self._plan_file.read_text() == self.plan.digest
        except FileNotFoundError:
            return False

    def answers(self) -> bool:
        """Ask it whether it is ready, once."""
        try:
            return self.plan.is_ready()
        except OSError:
            return False

    def begin(self) -> None:
        """Start the process, unless it runs; ``wait`` tells when it is ready.

        Raises:
            Missing: this machine cannot have it.
            PortTaken: somebody else listens where it should.
        """
        if self.running:
            return
        command = self.plan.command()
        for host, port in (self.plan.address, *self.plan.also_listens):
            if not is_free(host, port):
                raise PortTaken(f"{self.plan.name}: another program has {host}:{port}")
        self._write()
        self._prepare()
        self._child = self._run(command)
        started = identify(self._child.pid)
        if not self._kept:
            keeper.watch(started)
        save(started, self._pid_file)
        self._plan_file.write_text(self.plan.digest)

    def wait(self) -> None:
        """Return once it is ready.

        Raises:
            NotReady: it ended, or took too long and was ended; with the end of its log.
        """
        until = time.monotonic() + READY_S_MAX
        while not self.answers():
            if not self.running:
                raise NotReady(f"{self.plan.name} ended as it started\n{self.tail()}")
            if time.monotonic() > until:
                shown = self.tail()
                self.kill()
                raise NotReady(f"{self.plan.name} was not ready in {READY_S_MAX} s\n{shown}")
            time.sleep(POLL_S)

    def begin_stop(self) -> None:
        """Ask it to end, frozen or not; ``stop`` returns when it has."""
        self.resume()  # BEFORE the other: a frozen process would not see it
        if (alive := self._alive()) is not None:
            with suppress(ProcessLookupError):
                os.kill(alive.pid, self.plan.stop_signal)

    def stop(self) -> None:
        """End it as its operator would, and for certain."""
        self.begin_stop()
        with suppress(TimeoutError):
            self._until(lambda: not self.running)
        self.kill()

    def kill(self) -> None:
        """End it and all that it started with SIGKILL, frozen or not; return once they are gone."""
        killed = self._signal_all(signal.SIGKILL)
        self._until(lambda: not self.running and all(each.state() is None for each in killed))
        if self._child is not None:
            self._child.poll()  # or it stays a zombie, of which Python warns
        self._pid_file.unlink(missing_ok=True)

    def pause(self) -> None:
        """Freeze it and all that it started with SIGSTOP; return once they stand still.

        Raises:
            ProcessLookupError: it does not run.
        """
        os.kill(self.pid, signal.SIGSTOP)  # BEFORE its children, so that it starts no more
        stopped = self._signal_all(signal.SIGSTOP)
        self._until(lambda: all(each.state() in {None, *STOPPED} for each in stopped))

    def resume(self) -> None:
        """Let a frozen one run on."""
        self._signal_all(signal.SIGCONT)

    def tail(self) -> str:
        """Return the end of its log."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - LOG_SHOWN))
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _prepare(self) -> None:
        """Carry out what comes before the first start."""
        commands, done = self.plan.first(), self.plan.folder / "prepared"
        if not commands or done.exists():
            return
        shutil.rmtree(self.plan.folder / DATA, ignore_errors=True)  # what was cut off
        for command in commands:
            child = self._run(command)
            try:
                failed = bool(child.wait(READY_S_MAX))
            except subprocess.TimeoutExpired:
                child.kill()
                failed = bool(child.wait())
            if failed:
                raise NotReady(f"{self.plan.name} could not be prepared\n{self.tail()}")
        done.touch()  # AFTER all of it

    def _run(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*as_nobody(self.plan), *command],
                cwd=self.plan.folder,
                env={**kept, "HOME": str(self.plan.folder), **self.plan.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at the starter's terminal is not meant for it
            )

    def _write(self) -> None:
        for name in ("", *self.plan.folders):
            (self.plan.folder / name).mkdir(parents=True, exist_ok=True)
        for name, text in self.plan.files.items():
            (self.plan.folder / name).write_text(text, encoding="utf-8")
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_BYTES_MAX:
                self.log.unlink()

    def _alive(self) -> Identity | None:
        if self._child is not None:
            self._child.poll()  # an ended child keeps its pid until its parent has asked
        identity = load(self._pid_file)
        return identity if identity is not None and identity.state() is not None else None

    def _signal_all(self, number: signal.Signals) -> list[Identity]:
        """Send a signal to it and all that it started; return them."""
        alive = self._alive()
        processes = tree(alive) if alive is not None else []
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
        return processes

    def _until(self, happened: Callable[[], bool]) -> None:
        until = time.monotonic() + STOP_S_MAX
        while not happened():
            if time.monotonic() > until:
                raise TimeoutError(f"{self.plan.name} did not do so in {STOP_S_MAX} s")
            time.sleep(POLL_S)


def start(servers: Iterable[Server]) -> None:
    """Start servers together, and return once each is ready; they may need one another for that.

    Raises:
        Missing, PortTaken, NotReady: one cannot be had; those that were started go on.
    """
    beginning = list(servers)
    for server in beginning:
        server.begin()
    for server in beginning:
        server.wait()
