"""What a committed event leaves in the registry and in the index."""

from __future__ import annotations

from dataflow.core.ids import Version
from dataflow.core.state import State
from dataflow.views.contract import VERSION_TYPES, Entry, Projected, Summary


def entry(projected: Projected) -> Entry:
    """Return what the index keeps of an event."""
    event = projected.event
    kind = event.type
    return Entry(
        pipeline_id=event.pipeline_id,
        sequence=event.sequence,
        type=kind,
        time=event.time,
        version=projected.state.version if kind in VERSION_TYPES else Version(0),
        shard=projected.shard,
        offset=projected.offset,
    )


def summary(projected: Projected) -> Summary:
    """Return a pipeline's line in the list, as of an event."""
    state, spec = projected.state, projected.state.spec
    return Summary(
        pipeline_id=state.pipeline_id,
        name=spec.name,
        status=state.status,
        labels=spec.labels,
        source_type=", ".join(source.source_type for _, source in sorted(spec.sources.items())),
        sink_type=", ".join(sink.sink_type for _, sink in sorted(spec.sinks.items())),
        version=state.version,
        created_at=state.created_at or projected.event.time,
        updated_at=projected.event.time,
    )


def searched(state: State) -> str:
    """Return the text that ``Query.text`` is looked for in."""
    return f"{state.pipeline_id}\n{state.spec.name}\n{state.spec.description}".casefold()
