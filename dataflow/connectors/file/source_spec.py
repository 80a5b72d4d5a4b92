"""The spec of the ``file`` source. Imports no Arrow."""

from __future__ import annotations

from dataflow.connect import SourceSpec
from dataflow.connectors.file.place import covers
from dataflow.connectors.file.source_check import check, declared
from dataflow.connectors.file.source_options import FilePinned, FilePosition, FileSourceOptions

SPEC = SourceSpec(
    name="file",
    summary="csv, json lines, text, parquet and Arrow files: one, a glob, or a directory",
    options=FileSourceOptions,
    open="dataflow.connectors.file.source:open_source",
    position=FilePosition,
    pinned=FilePinned,
    check=check,
    schema=declared,
    covers=covers,
    node_local=lambda _, options: not options.shared,
    lanes=True,
)
