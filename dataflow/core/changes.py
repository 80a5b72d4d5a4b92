"""What a new spec means for what an old one has read and written."""

from __future__ import annotations

from collections.abc import Mapping

from dataflow.core.spec import PipelineSpec, with_defaults


def source_changed(old: PipelineSpec, new: PipelineSpec) -> bool:
    """Tell whether the positions of ``old`` mean nothing to ``new``: it reads something else."""
    return _places_read(old) != _places_read(new)


def sink_changed(old: PipelineSpec, new: PipelineSpec) -> bool:
    """Tell whether ``new`` writes elsewhere; other options go on with what is written."""
    return _places_written(old) != _places_written(new)


def lanes_changed(old: PipelineSpec, new: PipelineSpec) -> bool:
    """Tell whether ``new`` has more tasks or fewer, so that a split may be another one's."""
    before, after = (with_defaults(spec.options) for spec in (old, new))
    return before.parallelism != after.parallelism


def _places_read(spec: PipelineSpec) -> Mapping[str, tuple[str, str]]:
    return {name: (s.source_type, s.connection_string) for name, s in spec.sources.items()}


def _places_written(spec: PipelineSpec) -> Mapping[str, tuple[str, str]]:
    return {name: (s.sink_type, s.connection_string) for name, s in spec.sinks.items()}
