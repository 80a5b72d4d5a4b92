"""The names and numbers by which things are known.

Three numbers are easily confused. ``Offset`` is the gap-free position of a record in a *shard's*
log; ``Sequence`` the gap-free number of an event of one *pipeline*; ``Version`` that of its spec.
A ``Run`` is the offset of the ``RunStarted`` that began it, so it only grows.
"""

from __future__ import annotations

import hashlib
import re
from typing import NewType

import xxhash

from dataflow.core.errors import Rejected

PipelineId = NewType("PipelineId", str)
CommandId = NewType("CommandId", str)
SplitId = NewType("SplitId", str)
ShardId = NewType("ShardId", int)
NodeId = NewType("NodeId", str)
Offset = NewType("Offset", int)
Sequence = NewType("Sequence", int)
Version = NewType("Version", int)
Run = NewType("Run", int)
Lineage = NewType("Lineage", int)

SHARDS = 64
"""About eight times the most nodes a cluster will ever have; fixed when it is created."""

PIPELINE_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A DNS label, so that an id can name a host, a folder, a topic and a Kubernetes object."""

COMMAND_ID_LENGTH_MAX = 128
"""Room for any UUID, ULID or readable key; kept for an hour in memory for every command."""


def shard_of(pipeline: PipelineId, shards: int = SHARDS) -> ShardId:
    """Return the shard that owns a pipeline: the same on every node, for ever."""
    return ShardId(xxhash.xxh64_intdigest(pipeline.encode()) % shards)


def pipeline_id(text: str) -> PipelineId:
    """Check a caller's choice of id.

    Raises:
        Rejected: it is not a DNS label.
    """
    if not PIPELINE_ID.fullmatch(text):
        raise Rejected(
            f"{text!r} is not an id: use 1 to 63 lower-case letters, digits and hyphens,"
            " beginning and ending with a letter or digit",
            field="pipelineId",
        )
    return PipelineId(text)


def command_id(text: str) -> CommandId:
    """Check a caller's command id.

    Raises:
        Rejected: it is empty, too long, or not printable.
    """
    if not text or len(text) > COMMAND_ID_LENGTH_MAX or not text.isprintable():
        raise Rejected(f"use 1 to {COMMAND_ID_LENGTH_MAX} printable characters", field="commandId")
    return CommandId(text)


def derived_pipeline_id(caller: str, command: CommandId) -> PipelineId:
    """Return the id of a pipeline whose creator chose none.

    It depends on caller and command id alone, so a retried create finds the first one's pipeline.
    """
    digest = hashlib.sha256(f"{caller}\0{command}".encode()).hexdigest()
    return PipelineId(f"p-{digest[:20]}")
