"""Where a node keeps what must outlive it."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.engine.ingest import IngestLogs
from dataflow.engine.objects import Objects
from dataflow.journal.contract import Journal
from dataflow.views.contract import Views


@dataclass(frozen=True, slots=True)
class Stores:
    """What a program opens, and closes after everything that uses it."""

    journal: Journal
    views: Views
    objects: Objects
    ingest: IngestLogs
    writes_at_once: int = 0
    """Of all shards together to the journal; 0 where it makes one write of many by itself."""
