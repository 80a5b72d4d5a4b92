"""The example connectors pass the suites: they are the documentation that cannot go stale."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from dataflow.connect import Pinned
from dataflow.connect.testkit import (
    IdempotentSinkSuite,
    SourceSuite,
    StagingSinkSuite,
    TransactionalSinkSuite,
)
from tests.contract.connect.examples.arrow_files import StagedFile
from tests.contract.connect.examples.lines import Lines, LinesOptions, LinesPosition
from tests.contract.connect.places import ArrowFilesPlace, KeyedPlace, SqliteTablePlace


class Folders:
    """Gives each place a folder of its own."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.root = tmp_path
        self.number = count()

    def fresh(self) -> Path:
        """Return a path where nothing is yet."""
        return self.root / str(next(self.number))


class TestLines(Folders, SourceSuite[LinesPosition, Pinned]):
    """A source over files that end well, badly and at once."""

    position = LinesPosition
    pinned = Pinned

    def source(self) -> Lines:
        (self.root / "a.txt").write_bytes(b"".join(b"a%d\n" % i for i in range(25)) + b"unfinished")
        (self.root / "b.txt").write_bytes(b"\n\xff\xfe\nlast\n")
        (self.root / "empty.txt").write_bytes(b"")
        return Lines(self.root, LinesOptions(glob="*.txt"), rows_max=7)


class TestArrowFiles(Folders, StagingSinkSuite[StagedFile]):
    """The staging sink."""

    committable = StagedFile

    def place(self) -> ArrowFilesPlace:
        return ArrowFilesPlace(self.fresh())


class TestSqliteTable(Folders, TransactionalSinkSuite):
    """The transactional sink."""

    def place(self) -> SqliteTablePlace:
        return SqliteTablePlace(self.fresh())


class TestKeyed(Folders, IdempotentSinkSuite):
    """The idempotent sink."""

    def place(self) -> KeyedPlace:
        return KeyedPlace(self.fresh())
