"""Nodes of Apache Pekko: built once by Maven, started as processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.asked import Asked
from bench.peers.maven import built

HEAP = "512m"
"""More gains nothing: it holds 200 small entities."""


class Node(Asked):
    """A running node."""

    def __init__(self, jars: str, cassandra: str, keyspace: str, ports: tuple[int, int]) -> None:
        self.port, seed = ports
        arguments = [cassandra, keyspace, f"{self.port}", f"{seed}"]
        super().__init__(["java", f"-Xmx{HEAP}", "-cp", jars, "bench.Main", *arguments])

    def join(self, members: int) -> None:
        """Wait until its cluster has so many members."""
        self.ask(f"members {members}")

    def homes(self) -> dict[int, int]:
        """Wake every entity; return how many each node's port holds."""
        return {int(port): count for port, count in json.loads(self.ask("homes")).items()}

    def silence_s(self, lost: Node) -> Sequence[float]:
        """Kill another node; return how long each of its entities kept this one waiting."""
        lost.kill()
        return [each / 1e3 for each in json.loads(self.ask(f"lost {lost.port}"))]


@contextmanager
def nodes(cassandra: str, keyspace: str, ports: Sequence[int]) -> Iterator[Sequence[Node]]:
    """Return the nodes of one cluster, which the first makes and the others join."""
    jars = built("pekko")
    started: list[Node] = []
    try:
        started += [Node(jars, cassandra, keyspace, (port, ports[0])) for port in ports]
        for node in started:
            node.join(len(started))
        yield started
    finally:
        for node in reversed(started):
            node.stop()
