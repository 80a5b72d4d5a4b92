"""Rates are comparable only where the work was the same: outputs are compared byte by byte."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

BLOCK_BYTES = 1 << 20
_HEADER = b"id,customer,country,state,quantity,price,reference,total\n"
_ID = re.compile(rb'\{"id":(\d+)|(\d+),')


def check_same(ours: Path, theirs: Path, rows: int, *, is_whole: bool) -> None:
    """Compare an output with a peer's, which may have read only the first ``rows`` rows.

    A header is optional. Every peer writes its columns, numbers and rows in the same order.

    Raises:
        RuntimeError: they differ; says where.
    """
    with ours.open("rb") as our_file, theirs.open("rb") as their_file:
        for file in (our_file, their_file):
            if file.readline() != _HEADER:
                file.seek(0)
        compared = 0
        while block := their_file.read(BLOCK_BYTES):
            if our_file.read(len(block)) != block:
                raise RuntimeError(
                    f"{ours.name} and {theirs.name} differ within {BLOCK_BYTES} B behind byte"
                    f" {compared} of the rows"
                )
            compared += len(block)
        if compared == 0:
            raise RuntimeError(f"{theirs.name} holds no rows")
        _check_end(our_file, rows, is_whole=is_whole)


def _check_end(ours: BinaryIO, rows: int, *, is_whole: bool) -> None:
    following = ours.readline()
    found = _ID.match(following)
    number = int(found[1] or found[2]) if found else None
    if is_whole and following:
        raise RuntimeError("the peer wrote fewer rows of the same input")
    if not is_whole and (number is None or number < rows):
        raise RuntimeError(f"the peer left out row {number}, or wrote more than its input holds")
