"""Nodes of Apache Pekko: built once by Maven, started as processes."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.asked import Asked
from deploy.stack.places import cache

PROJECT = Path(__file__).with_name("pekko")
HEAP = "512m"
"""More gains nothing: it holds 200 small entities."""

BUILD_S_MAX = 600
"""Ten times what fetching 60 jars took."""


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
    jars = _built()
    started: list[Node] = []
    try:
        started += [Node(jars, cassandra, keyspace, (port, ports[0])) for port in ports]
        for node in started:
            node.join(len(started))
        yield started
    finally:
        for node in reversed(started):
            node.stop()


def _built() -> str:
    """Return the class path of the peer, built from what ``pekko/`` says now.

    Raises:
        RuntimeError: Java or Maven is missing.
    """
    if missing := [program for program in ("java", "mvn") if shutil.which(program) is None]:
        raise RuntimeError(f"the peer pekko needs {' and '.join(missing)} (Java 17, Maven 3.8)")
    sources = hashlib.sha256()
    for file in sorted(path for path in PROJECT.rglob("*") if path.is_file()):
        sources.update(file.relative_to(PROJECT).as_posix().encode() + b"\0" + file.read_bytes())
    home = cache() / f"pekko-{sources.hexdigest()[:16]}"
    if not home.exists():
        cache().mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="making-", dir=cache()))
        pom, out = f"{PROJECT}/pom.xml", f"-Dout={made}"
        command = ["mvn", "-B", "-q", "-ntp", "-f", pom, out, "package"]
        subprocess.run(command, check=True, timeout=BUILD_S_MAX)
        made.rename(home)  # AFTER the build, so that a broken one is made again
    return f"{home}/*:{home}/libs/*"
