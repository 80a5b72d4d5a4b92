"""A file that grows holds what was appended, whatever the disk has begun to write."""

from __future__ import annotations

from pathlib import Path

from dataflow.connectors.file.write_file import WRITE_BEHIND_BYTES, GrowingFile


def test_what_is_written_behind_can_be_cut_and_gone_on_with(tmp_path: Path) -> None:
    """A cut goes back behind where the disk has begun; what follows is counted from there."""
    path = tmp_path / "out"
    file = GrowingFile.create(path)
    piece = bytes(range(256)) * (WRITE_BEHIND_BYTES // 256 + 1)
    file.append(piece)
    file.append(piece)
    file.cut(1_000)
    file.append(piece)
    file.sync()
    file.close()
    assert path.read_bytes() == piece[:1_000] + piece
