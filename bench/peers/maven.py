"""Peers in Java: built once by Maven, outside the work tree."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.stack.places import cache

BUILD_S_MAX = 600
"""Ten times what fetching 60 jars took."""


def built(peer: str) -> str:
    """Return the class path of a peer, built from what its folder says now.

    Raises:
        RuntimeError: Java or Maven is missing.
    """
    project = Path(__file__).with_name(peer)
    if missing := [program for program in ("java", "mvn") if shutil.which(program) is None]:
        raise RuntimeError(f"the peer {peer} needs {' and '.join(missing)} (Java 17, Maven 3.8)")
    sources = hashlib.sha256()
    for file in sorted(path for path in project.rglob("*") if path.is_file()):
        sources.update(file.relative_to(project).as_posix().encode() + b"\0" + file.read_bytes())
    home = cache() / f"{peer}-{sources.hexdigest()[:16]}"
    if not home.exists():
        cache().mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="making-", dir=cache()))
        pom, out = f"{project}/pom.xml", f"-Dout={made}"
        command = ["mvn", "-B", "-q", "-ntp", "-f", pom, out, "package"]
        subprocess.run(command, check=True, timeout=BUILD_S_MAX, stdout=sys.stderr)
        made.rename(home)  # AFTER the build, so that a broken one is made again
    return f"{home}/*:{home}/libs/*"
