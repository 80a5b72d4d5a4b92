"""Downloads and builds: made once a machine and version, by one process at a time.

What is built is named in ``programs/``: a Go module with its checksums, or a Maven project. The
name of the result holds a digest of those files, so that a change of them is a new build.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.stack.errors import Missing
from deploy.stack.places import cache, locked

PROGRAMS = Path(__file__).parent / "programs"

BUILD_S_MAX = 1_200
"""The slowest build took 70 s on two idle cores; a test machine may be ten times busier."""

_SHOWN = 2_000
"""Characters of a failed build's output: the compiler's last errors."""

_REMEDY = {
    "go": "install Go 1.26 or newer",
    "mvn": "install Maven (Debian: apt-get install maven)",
    "unshare": "install util-linux",
    "java": "install Java 17 (Debian: apt-get install openjdk-17-jre-headless)",
}


def go_program(name: str, package: str) -> Path:
    """Return a program that Go builds from the module ``programs/<name>``.

    Raises:
        Missing: Go is absent, or could not build it.
    """

    def build(folder: Path) -> None:
        environment = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
        flags = ["-mod=readonly", "-trimpath", "-ldflags=-s -w"]
        command = [tool(name, "go"), "build", *flags, "-o", str(folder / name), package]
        _run(name, command, PROGRAMS / name, environment)

    return _made(name, build) / name


def maven_jars(
    name: str, properties: Sequence[str] = (), then: Callable[[Path], None] | None = None
) -> Path:
    """Return the folder of the jars that ``programs/<name>/pom.xml`` names.

    ``then`` does in that folder what is left to do, once.

    Raises:
        Missing: Maven is absent, or could not fetch them.
    """
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

    def fetch(folder: Path) -> None:
        quiet = ["--batch-mode", "--quiet", "--no-transfer-progress", "--strict-checksums"]
        goal = [plugin, "-DincludeScope=runtime", f"-DoutputDirectory={folder}", *properties]
        command = [tool(name, "mvn"), *quiet, "-f", str(PROGRAMS / name / "pom.xml"), *goal]
        _run(name, command, PROGRAMS / name, {})
        if then is not None:
            then(folder)

    return _made(name, fetch)


@functools.cache
def java(name: str, version: int) -> str:
    """Return the program ``java`` of one major version, from ``JAVA_HOME`` or the path.

    Raises:
        Missing: there is none, or another version.
    """
    home = os.environ.get("JAVA_HOME")
    program = f"{home}/bin/java" if home else tool(name, "java")
    try:
        told = subprocess.run([program, "-version"], capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as failed:
        raise Missing(f"{name}: {program} does not run ({failed}): {_REMEDY['java']}") from failed
    line = told.stderr.decode(errors="replace").partition("\n")[0]
    if f'"{version}.' not in line:
        raise Missing(f"{name} runs on Java {version}, and {program} is {line}: {_REMEDY['java']}")
    return program


def tool(name: str, program: str) -> str:
    """Return the path of a program that a server needs.

    Raises:
        Missing: it is not on the path.
    """
    if found := shutil.which(program):
        return found
    raise Missing(f"{name} needs {program}, which is not on the path: {_REMEDY[program]}")


def _made(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder that ``make`` fills; one process makes it, the others wait."""
    digest = hashlib.sha256()
    for source in sorted((PROGRAMS / name).iterdir()):
        digest.update(source.read_bytes())
    target = cache() / f"{name}-{digest.hexdigest()[:16]}"
    if target.exists():
        return target
    with locked(cache() / f"{name}.lock"):
        if target.exists():
            return target
        making = cache() / f"{name}.making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        make(making)
        making.rename(target)  # AFTER all of it, so that a folder of that name is whole
    return target


def _run(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=BUILD_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise Missing(f"{name}: `{' '.join(command)}` took over {BUILD_S_MAX} s") from late
    if done.returncode:
        shown = done.stdout[-_SHOWN:].decode(errors="replace")
        raise Missing(f"{name}: `{' '.join(command)}` failed: {shown}")
