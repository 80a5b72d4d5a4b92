"""Real servers for tests: shared ones as fixtures, and the logs of all of them when a test fails.

A test that needs a server this machine cannot have is skipped with the reason. With ``CI=true`` it
fails: there nobody reads what was skipped.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from deploy.stack import Missing, logs, shared
from deploy.stack.registry import API


@pytest.fixture(scope="session")
def etcd() -> str:
    """``host:port`` of the machine's etcd. Use a key prefix of your own."""
    return shared("etcd")


@pytest.fixture(scope="session")
def cassandra() -> str:
    """``host:port`` of the machine's Cassandra. Use a keyspace of your own."""
    return shared("cassandra")


@pytest.fixture(scope="session")
def s3() -> str:
    """``host:port`` of the machine's S3 server; ``deploy.stack.s3`` has its keys and bucket."""
    return shared("s3")


@pytest.fixture(scope="session")
def kafka() -> str:
    """``host:port`` of the machine's Kafka. Use topics and groups of your own."""
    return shared("kafka")


@pytest.fixture(scope="session")
def postgres() -> str:
    """``host:port`` of the machine's PostgreSQL; ``deploy.stack.postgres`` has its user.

    Use a database of your own.
    """
    return shared("postgres")


@pytest.fixture(scope="session")
def registry() -> str:
    """URL of the machine's schema registry, as clients of Confluent's take it.

    Use subjects of your own.
    """
    return f"http://{shared('registry')}{API}"


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Generator[None, object, object]:
    """Skip a test whose fixture needs a missing server."""
    return (yield from _skipped_where_missing())


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Skip a test that starts a missing server."""
    return (yield from _skipped_where_missing())


def pytest_runtest_logstart() -> None:
    """Leave the servers of earlier tests out."""
    logs.forget_ended()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the servers last wrote, below a failure."""
    report = yield
    if report.failed:
        report.sections += [(f"the end of the log of {name}", tail) for name, tail in logs.tails()]
    return report


def _skipped_where_missing() -> Generator[None, object, object]:
    try:
        return (yield)
    except Missing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
