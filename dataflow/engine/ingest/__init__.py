"""The ingest log: pushed records of one pipeline, durable before they are acknowledged.

``IngestLogs`` is what a node keeps; ``IngestLogs.log`` is what a source reads. Importing this
loads no Arrow: the modules that parse and decode are imported in a thread, with the first batch.
"""

from dataflow.engine.ingest.contract import IngestLogs
from dataflow.engine.ingest.file_logs import FileLogs
from dataflow.engine.ingest.pushed import Ingested, IngestOptions

__all__ = ["FileLogs", "IngestLogs", "IngestOptions", "Ingested"]
