"""The Python SDK.

    from dataflow.client import DataFlow

    async with DataFlow("127.0.0.1:50051") as df:
        await df.create({"pipelineId": "flights", "source": {…}, "sink": {…}})
        await df.start("flights")

``dataflow.client.blocking.DataFlow`` is its twin for programs without asyncio.
"""

from dataflow.client.connection import Tls
from dataflow.client.dataflow import DataFlow
from dataflow.client.documents import create_command, update_command
from dataflow.client.errors import Failed, Unreachable, from_refusal
from dataflow.client.records import Batch
from dataflow.core.errors import Corrupted, DataFlowError, Invalid, Problem, Rejected, Unavailable

__all__ = [
    "Batch",
    "Corrupted",
    "DataFlow",
    "DataFlowError",
    "Failed",
    "Invalid",
    "Problem",
    "Rejected",
    "Tls",
    "Unavailable",
    "Unreachable",
    "create_command",
    "from_refusal",
    "update_command",
]
