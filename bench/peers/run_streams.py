"""The work as a topology of Kafka Streams, exactly once, in a JVM of its own.

``python -m bench.peers.run_streams BROKERS SOURCE TARGET RECORDS``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from bench.peers.maven import built

HEAP = "1g"
THREADS = os.cpu_count() or 1


def main() -> None:
    """Print what the JVM prints: seconds, CPU and memory as one line of JSON."""
    with tempfile.TemporaryDirectory() as folder:
        java = ["java", f"-Xmx{HEAP}", f"-Djava.io.tmpdir={folder}", "-cp", built("streams")]
        subprocess.run([*java, "bench.Orders", *sys.argv[1:], f"{THREADS}"], check=True)


if __name__ == "__main__":
    main()
