"""Servers of one kind that a test has for itself: it may kill, freeze and restart each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.stack import logs
from deploy.stack.plan import Plan
from deploy.stack.server import Server, start


class Cluster:
    """Members of one cluster, counted from 0. As a context it starts them all, and kills them.

    They also end when the process that made them ends, however it does.
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._servers = [Server(plan, kept=False) for plan in plans]
        for server in self._servers:
            logs.show(server)

    @property
    def addresses(self) -> list[str]:
        """``host:port`` of each member, for its clients."""
        return [server.plan.reached_at for server in self._servers]

    @property
    def address(self) -> str:
        """The first member's."""
        return self.addresses[0]

    def start(self, member: int | None = None) -> None:
        """Start one member, or all that do not run; they keep their ports and their data.

        Raises:
            Missing: this machine cannot have it.
            NotReady: one ended or took too long; the message ends with its log.
            PortTaken: somebody else took its port while it was down.
        """
        start(self._servers if member is None else [self._servers[member]])

    def stop(self, member: int | None = None) -> None:
        """Stop one member or all as an operator would; what will not end is killed."""
        servers = self._servers if member is None else [self._servers[member]]
        for server in servers:
            server.begin_stop()
        for server in servers:
            server.stop()

    def close(self) -> None:
        """Kill them all: nobody will read their data again, so there is no use in waiting."""
        for server in self._servers:
            server.kill()

    def kill(self, member: int = 0) -> None:
        """End a member with SIGKILL."""
        self._servers[member].kill()

    def pause(self, member: int = 0) -> None:
        """Freeze a member with SIGSTOP; its sockets stay open and answer nothing."""
        self._servers[member].pause()

    def resume(self, member: int = 0) -> None:
        """Let a frozen member run on, with SIGCONT."""
        self._servers[member].resume()

    def pid(self, member: int = 0) -> int:
        """Return a member's process number.

        Raises:
            ProcessLookupError: it does not run.
        """
        return self._servers[member].pid

    def exit_code(self, member: int = 0) -> int | None:
        """Return how a member has ended, minus the signal that ended it; None while it runs."""
        return self._servers[member].exit_code

    def log(self, member: int = 0) -> Path:
        """Return the file of all that a member has printed, in all its lives."""
        return self._servers[member].log

    def running(self, member: int = 0) -> bool:
        """Tell whether a member's process is there, frozen or not."""
        return self._servers[member].running

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._servers)
