"""How many files a source takes, and how much it remembers of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.connect import Rejected
from dataflow.connectors.file import source_files
from dataflow.connectors.file.source_files import Listing
from dataflow.connectors.file.source_options import FileSourceOptions

MAX = 3


@pytest.fixture(autouse=True)
def _few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_files, "FILES_MAX", MAX)


def make(folder: Path, count: int) -> None:
    """Write so many files."""
    for n in range(count):
        (folder / f"{n}.csv").write_text(f"a\n{n}\n")


@pytest.mark.parametrize("watch", [False, True])
def test_as_many_files_as_allowed_are_listed_and_one_more_is_refused(
    tmp_path: Path, *, watch: bool
) -> None:
    """Each has a position in every checkpoint."""
    listing = Listing(str(tmp_path), FileSourceOptions(watch=watch), Path)
    make(tmp_path, MAX)
    assert len(listing.files("csv")) == MAX
    make(tmp_path, MAX + 1)
    with pytest.raises(Rejected, match=f"more than {MAX} files"):
        listing.files("csv")


def test_what_a_watched_file_was_once_is_forgotten(tmp_path: Path) -> None:
    """One that is appended to all day has another state at every look."""
    listing = Listing(str(tmp_path), FileSourceOptions(watch=True), Path)
    make(tmp_path, 1)
    remembered = []
    for _ in range(20):
        with (tmp_path / "0.csv").open("a") as file:
            file.write("1\n")
        listing.files("csv")
        remembered.append(len(listing._identities))
    assert max(remembered) == 2 * MAX + 1
