"""The servers that a machine has once: started by whoever asks first, kept, and found again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.stack import s3
from deploy.stack.identity import Identity, identify, load, save
from deploy.stack.places import locked
from deploy.stack.ports import free_ports

RUN_S_MAX = 600
"""The first run of a machine builds the server."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A state folder and a port, so that nothing of the real machine's servers is touched."""

    folder: Path
    port: int

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        own = {"STACK_STATE": f"{self.folder}", "STACK_S3_PORT": f"{self.port}"}
        return subprocess.run(
            [sys.executable, "-m", "deploy.stack", *arguments],
            env={**os.environ, **own, **variables},
            capture_output=True,
            text=True,
            timeout=RUN_S_MAX,
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Run the command line, and do not wait for it."""
        own = {"STACK_STATE": f"{self.folder}", "STACK_S3_PORT": f"{self.port}"}
        command = [sys.executable, "-m", "deploy.stack", *arguments]
        return subprocess.Popen(command, env={**os.environ, **own}, stdout=subprocess.DEVNULL)

    @property
    def pid_file(self) -> Path:
        """Where the server's identity is written."""
        (server,) = self.folder.glob("s3-*")
        return server / "pid"

    def identity(self) -> Identity:
        """Return who the server is."""
        identity = load(self.pid_file)
        assert identity is not None
        return identity


def waits_for_a_lock(pid: int) -> bool:
    """Ask the system: a line of a process that waits has an arrow and its number."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f" {pid} " in line for line in lines)


def until(happened: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Return a machine without servers, and stop what was started on it."""
    made = Machine(tmp_path, free_ports(1)[0])
    yield made
    made.run("down", "s3")


def test_a_server_answers_once_up_returns(machine: Machine) -> None:
    """Whoever starts it may use it at once, and does not have to wait for it to end."""
    up = machine.run("up", "s3")
    assert (up.returncode, up.stdout) == (0, f"s3 is ready at 127.0.0.1:{machine.port}\n")
    socket.create_connection(("127.0.0.1", machine.port), 5).close()


def test_a_server_that_runs_stays_as_it_is(machine: Machine) -> None:
    """Every test process asks for it."""
    machine.run("up", "s3")
    first = machine.identity()
    assert machine.run("up", "s3").returncode == 0
    assert machine.identity() == first


def test_processes_that_ask_at_once_get_one_server(machine: Machine) -> None:
    """The workers of pytest all begin together; a second server would find the port taken."""
    with ThreadPoolExecutor(4) as pool:
        asked = list(pool.map(lambda _: machine.run("up", "s3"), range(4)))
    assert [(up.returncode, up.stderr) for up in asked] == [(0, "")] * 4


def test_who_asks_waits_for_whoever_is_starting_it(machine: Machine) -> None:
    """Between finding no server and writing who it is, another would find none either."""
    with locked(machine.folder / "s3.lock"):
        up = machine.begin("up", "s3")
        until(lambda: waits_for_a_lock(up.pid))
        assert list(machine.folder.glob("s3-*")) == []
    assert up.wait(RUN_S_MAX) == 0
    assert machine.identity().state() is not None


def test_a_killed_server_is_started_again(machine: Machine) -> None:
    """A machine that was switched off leaves the file with the old process's number."""
    machine.run("up", "s3")
    first = machine.identity()
    os.kill(first.pid, 9)
    assert machine.run("up", "s3").returncode == 0
    assert machine.identity() != first


def test_down_ends_the_server_and_keeps_its_data(machine: Machine) -> None:
    """Kept between runs, and gone only when somebody deletes it."""
    machine.run("up", "s3")
    server, file = machine.identity(), machine.pid_file
    assert machine.run("down", "s3").stdout == "s3 stopped\n"
    assert server.state() is None
    assert (file.parent / "data" / "dataflow").is_dir()


def test_down_leaves_another_process_with_the_same_number_alone(machine: Machine) -> None:
    """After a restart of the machine the number may be anybody's."""
    machine.run("up", "s3")
    file = machine.pid_file
    machine.run("down", "s3")
    with subprocess.Popen(["sleep", "600"]) as other:
        its = identify(other.pid)
        save(Identity(its.pid, its.started - 1, its.boot), file)
        assert machine.run("down", "s3").stdout == "s3 did not run\n"
        assert other.poll() is None
        other.kill()


def test_a_port_of_another_program_is_an_error(machine: Machine) -> None:
    """Tests would write into whatever listens there."""
    with socket.create_server(("127.0.0.1", machine.port)):
        up = machine.run("up", "s3")
    assert up.returncode == 1
    assert up.stderr == f"s3: another program has 127.0.0.1:{machine.port}\n"


def test_status_says_where_a_server_is(machine: Machine) -> None:
    """People ask it when a test cannot reach something."""
    assert "s3          down" in machine.run("status").stdout
    machine.run("up", "s3")
    ready = (
        f"s3          ready, {s3.VERSION}, 127.0.0.1:{machine.port}, pid {machine.identity().pid}"
    )
    assert ready in machine.run("status").stdout


def test_a_port_that_is_none_is_refused(machine: Machine) -> None:
    """A typing error must not start the server somewhere else."""
    up = Machine(machine.folder, 70_000).run("up", "s3")
    assert up.returncode == 2
    assert "STACK_S3_PORT: '70000' is no port" in up.stderr


def test_a_server_that_is_missing_keeps_no_other_from_starting(machine: Machine) -> None:
    """Make test starts all that it can, and has to tell a missing one from one that failed."""
    machine.run("up", "s3")
    up = machine.run("up", "etcd", "s3", PATH="/nowhere", STACK_CACHE=f"{machine.folder}/none")
    assert up.returncode == 3
    assert "etcd needs go, which is not on the path" in up.stderr


def test_a_server_with_other_settings_is_started_again(machine: Machine) -> None:
    """A change of a recipe has to reach the machines where the server is kept."""
    machine.run("up", "s3")
    first = machine.identity()
    machine.pid_file.with_name("plan").write_text("of an older recipe")
    assert machine.run("up", "s3").returncode == 0
    assert (first.state(), machine.identity() == first) == (None, False)


def test_a_program_that_cannot_be_built_is_missing(machine: Machine) -> None:
    """Without a network a first build fails: said with the compiler's own words."""
    nothing = {name: f"{machine.folder}/{name}" for name in ("STACK_CACHE", "GOMODCACHE")}
    up = machine.run("up", "s3", GOPROXY="off", **nothing)
    assert up.returncode == 3
    assert "module lookup disabled by GOPROXY=off" in up.stderr


def test_another_java_is_told_from_the_one_that_is_needed(machine: Machine) -> None:
    """Cassandra would end with an error that names no version."""
    program = machine.folder / "java" / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'openjdk version \"21.0.5\" 2024-10-15' >&2\n")
    program.chmod(0o755)
    up = machine.run("up", "cassandra", JAVA_HOME=f"{machine.folder}/java")
    assert up.returncode == 3
    assert "cassandra runs on Java 17" in up.stderr
    assert "21.0.5" in up.stderr
