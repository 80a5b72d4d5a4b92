"""Servers that a test has for itself: started, broken, started again, and always ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.stack import S3, Etcd, Kafka, NotReady, PortTaken, Postgres
from deploy.stack.identity import identify, tree
from deploy.stack.kafka import brokers_known
from deploy.stack.plan import Plan
from deploy.stack.ports import free_ports
from deploy.stack.server import LOG_BYTES_MAX, Server, start

WAIT_S_MAX = 60

OWNER = """
import sys, time
from pathlib import Path
from deploy.stack import S3
with S3(Path(sys.argv[1])) as store:
    print(store.pid(), flush=True)
    time.sleep(600)
"""
"""A process that has a server for itself."""


ENDS_IN_ORDER = """
import signal, sys
from pathlib import Path
def end(*_):
    Path("ended").touch()
    sys.exit()
signal.signal(signal.SIGTERM, end)
Path("ready").touch()
signal.pause()
"""


def until(happened: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + WAIT_S_MAX
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def healthy(address: str) -> bool:
    """Ask a member of etcd, which asks its leader."""
    try:
        with urllib.request.urlopen(f"http://{address}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_cluster_of_etcd_lives_without_one_member_and_takes_it_back(tmp_path: Path) -> None:
    """The fault tests kill members, the leader too, and go on with the same cluster."""
    with Etcd(tmp_path, members=3) as etcd:
        etcd.kill(0)
        assert not etcd.running(0)
        until(lambda: healthy(etcd.addresses[1]))
        etcd.start(0)
        assert healthy(etcd.addresses[0])


def test_a_frozen_member_answers_again_once_resumed(tmp_path: Path) -> None:
    """SIGSTOP past a lease is a fault of its own: the process is there and does nothing."""
    with Etcd(tmp_path) as etcd:
        etcd.pause()
        assert (etcd.running(), healthy(etcd.address)) == (True, False)
        etcd.resume()
        until(lambda: healthy(etcd.address))


def test_what_was_stored_is_there_after_a_kill(tmp_path: Path) -> None:
    """A member starts again over its own data, at its own address."""
    with S3(tmp_path) as store:
        before = store.address
        (tmp_path / "data" / "dataflow" / "object").write_bytes(b"kept")
        store.kill()
        store.start()
        assert store.address == before
        assert (tmp_path / "data" / "dataflow" / "object").read_bytes() == b"kept"


def test_a_frozen_server_is_ended_too(tmp_path: Path) -> None:
    """A test may fail while its server is frozen; nothing of it may stay."""
    with S3(tmp_path) as store:
        store.pause()
    assert not store.running()


def test_a_frozen_server_is_stopped_too(tmp_path: Path) -> None:
    """SIGTERM waits until the process runs on, so it would be killed in the end."""
    plan = plan_of(tmp_path, ENDS_IN_ORDER)
    server = Server(replace(plan, is_ready=(tmp_path / "ready").exists), kept=False)
    start([server])
    server.pause()
    server.stop()
    assert (tmp_path / "ended").exists()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_servers_end_with_the_process_that_has_them(tmp_path: Path, end: signal.Signals) -> None:
    """A killed test process closes nothing, and servers that stayed would fill the machine."""
    with subprocess.Popen([sys.executable, "-c", OWNER, tmp_path], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        server = identify(int(owner.stdout.readline()))
        owner.send_signal(end)
        owner.wait(WAIT_S_MAX)
    until(lambda: server.state() is None)


@pytest.mark.slow
def test_three_brokers_of_kafka_know_each_other_and_take_one_back(tmp_path: Path) -> None:
    """Topics with three replicas go on without one broker."""
    with Kafka(tmp_path, brokers=3) as kafka:
        kafka.kill(0)
        kafka.start(0)
        nodes = [address.split(":") for address in kafka.addresses]
        assert [brokers_known(host, int(port)) for host, port in nodes] == [3, 3, 3]


def test_postgres_is_not_made_again_after_a_kill(tmp_path: Path) -> None:
    """Its helpers hold the memory of the one that was killed, and would keep it from starting."""
    with Postgres(tmp_path) as postgres:
        made = (tmp_path / "data" / "PG_VERSION").stat().st_mtime_ns
        postgres.kill()
        postgres.start()
        assert (tmp_path / "data" / "PG_VERSION").stat().st_mtime_ns == made


def test_a_frozen_server_stands_still_with_all_that_it_started(tmp_path: Path) -> None:
    """PostgreSQL answers each client from a process of its own, which would go on."""
    with Postgres(tmp_path) as postgres:
        processes = tree(identify(postgres.pid()))
        postgres.pause()
        assert len(processes) > 1
        assert {process.state() for process in processes} - {None} == {
            "T"
        }  # some end by themselves
        postgres.resume()
        postgres.start()


def test_what_was_not_prepared_to_its_end_is_prepared_anew(tmp_path: Path) -> None:
    """A machine that was switched off mid-way would refuse its half of a data folder for ever."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "half").touch()
    with Postgres(tmp_path):
        assert not (tmp_path / "data" / "half").exists()


def test_a_server_that_ends_as_it_starts_shows_its_log(tmp_path: Path) -> None:
    """Only the log says why, and the folder of a test is gone when somebody looks for it."""
    script = "import sys; sys.exit('no such disk')"
    server = Server(plan_of(tmp_path, script), kept=False)
    server.begin()
    with pytest.raises(NotReady, match="no such disk"):
        server.wait()


def test_a_log_that_grew_too_long_begins_again(tmp_path: Path) -> None:
    """Servers that are kept for months would fill the disk."""
    server = Server(plan_of(tmp_path, "import time; time.sleep(600)"), kept=False)
    with server.log.open("wb") as log:
        log.truncate(LOG_BYTES_MAX + 1)
    server.begin()
    try:
        assert server.log.stat().st_size == 0
    finally:
        server.kill()


def test_other_settings_are_told_from_those_it_runs_with(tmp_path: Path) -> None:
    """A server that runs on with old settings would make a test pass here and nowhere else."""
    script = "import time; time.sleep(600)"
    first = Server(plan_of(tmp_path, script), kept=False)
    first.begin()
    try:
        assert first.as_planned
        assert not Server(plan_of(tmp_path, script + "#"), kept=False).as_planned
    finally:
        first.kill()


def test_a_taken_port_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Without the check a test would speak to somebody else's server."""
    with S3(tmp_path / "one") as store:
        plan = plan_of(tmp_path / "two", "", port=int(store.address.split(":")[1]))
        with pytest.raises(PortTaken, match=store.address):
            Server(plan, kept=False).begin()


def test_free_ports_are_not_given_twice() -> None:
    """Two clusters of one test ask one after the other, before either listens."""
    ports = [*free_ports(5), *free_ports(5)]
    assert len(set(ports)) == len(ports)


def plan_of(folder: Path, script: str, port: int | None = None) -> Plan:
    """Return the plan of a Python script that never gets ready."""
    return Plan(
        name="script",
        command=lambda: (sys.executable, "-c", script),
        folder=folder,
        address=("127.0.0.1", port or free_ports(1)[0]),
        is_ready=lambda: False,
    )
