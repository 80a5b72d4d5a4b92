"""Text: every line is a record, also a blank one; one column of strings."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connectors.formats.lines import Lines
from dataflow.connectors.formats.parse import Pace, Parsed, require_utf8

PACE = Pace(chunk_bytes=2 << 20, at_once=1)
"""Splitting takes little, so that more at once would only be held longer."""


class TextParser:
    """Lines, without their line feed or CR LF."""

    def __init__(self, name: str) -> None:
        self.schema = pa.schema([(name, pa.string())])
        self.pace = PACE
        self.lines = Lines()

    def strictly(self, data: bytes) -> Parsed:
        """See ``Parser``."""
        require_utf8(data)
        text = data.removesuffix(b"\n").removesuffix(b"\r")
        if b"\r\n" in text:
            text = text.replace(b"\r\n", b"\n")
        split = pc.split_pattern(pa.array([text], pa.string()), "\n")
        return Parsed(pa.RecordBatch.from_arrays([split.flatten()], schema=self.schema))

    def apart(self, _data: bytes) -> Parsed | None:
        """See ``Parser``."""
        return None
