"""The contract for authors of sources, transforms and sinks. Public and stable.

A connector imports this package and its own driver, nothing else. It says what it is in a
``SourceSpec``, ``TransformSpec`` or ``SinkSpec``, registered by value (a built-in in
``dataflow.app``, anybody else's by the entry point group ``dataflow.connectors``), and passes the
suite in ``dataflow.connect.testkit``.
"""

from dataflow.connect.context import Context, Log, LogBatch
from dataflow.connect.decision import decision_from, decision_held, decision_text
from dataflow.connect.lookup import Answer, AskingSpec, Lookup, LookupOptions, LookupSpec, Wanted
from dataflow.connect.model import Committable, Duration, Model, Options, Pinned, Position
from dataflow.connect.operator import Operator, OperatorOptions, Via
from dataflow.connect.sink import (
    REFUSED_COLUMNS,
    AtLeastOnceSink,
    IdempotentSink,
    StagingSink,
    Task,
    TransactionalSink,
)
from dataflow.connect.source import Chunk, Source, Split
from dataflow.connect.spec import (
    Guarantee,
    Load,
    Registry,
    SinkSpec,
    SourceSpec,
    TransformSpec,
    load,
)
from dataflow.connect.transform import Output, Transform
from dataflow.core.checkpoint import Checkpoint, Stamp
from dataflow.core.errors import Corrupted, Fenced, Problem, Rejected, Unavailable, Waiting
from dataflow.core.ids import Lineage, PipelineId, Run, SplitId
from dataflow.core.spec import OnError, PipelineOptions
from dataflow.core.spec import Sink as SinkStep
from dataflow.core.spec import Source as SourceStep
from dataflow.core.spec import Transform as TransformStep
from dataflow.durable import make_folder, sync_path

__all__ = [
    "REFUSED_COLUMNS",
    "Answer",
    "AskingSpec",
    "AtLeastOnceSink",
    "Checkpoint",
    "Chunk",
    "Committable",
    "Context",
    "Corrupted",
    "Duration",
    "Fenced",
    "Guarantee",
    "IdempotentSink",
    "Lineage",
    "Load",
    "Log",
    "LogBatch",
    "Lookup",
    "LookupOptions",
    "LookupSpec",
    "Model",
    "OnError",
    "Operator",
    "OperatorOptions",
    "Options",
    "Output",
    "Pinned",
    "PipelineId",
    "PipelineOptions",
    "Position",
    "Problem",
    "Registry",
    "Rejected",
    "Run",
    "SinkSpec",
    "SinkStep",
    "Source",
    "SourceSpec",
    "SourceStep",
    "Split",
    "SplitId",
    "StagingSink",
    "Stamp",
    "Task",
    "TransactionalSink",
    "Transform",
    "TransformSpec",
    "TransformStep",
    "Unavailable",
    "Via",
    "Waiting",
    "Wanted",
    "decision_from",
    "decision_held",
    "decision_text",
    "load",
    "make_folder",
    "sync_path",
]
