"""What a protobuf field looks like in JSON; readers, writers and OpenAPI agree here."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor

JSON_TEXTS = frozenset(
    {
        "dataflow.v1.SplitPosition.position",
        "dataflow.v1.Checkpoint.pinned",
        "dataflow.v1.Checkpoint.committables",
        "dataflow.v1.Checkpoint.states",
        "dataflow.v1.LaneShare.committables",
        "dataflow.v1.PreviewStep.records",
        "dataflow.v1.GivenRecords.records",
    }
)
"""String fields whose text is JSON made by a connector, besides every string named ``options``."""

INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.TYPE_UINT64: (0, (1 << 64) - 1),
}
FLOATS = frozenset({FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT})


def holds_json(entry: FieldDescriptor) -> bool:
    """Tell whether a string field holds JSON text, which is shown as the value it stands for."""
    is_options = entry.name == "options" and entry.type == FieldDescriptor.TYPE_STRING
    return is_options or entry.full_name in JSON_TEXTS


def is_map(entry: FieldDescriptor) -> bool:
    """Tell whether a field is a map, which JSON shows as an object."""
    return bool(entry.message_type and entry.message_type.GetOptions().map_entry)


def map_value(entry: FieldDescriptor) -> FieldDescriptor:
    """Return what a map's keys lead to.

    Raises:
        TypeError: its keys are no strings, so JSON cannot hold it as an object.
    """
    if not entry.message_type:
        raise TypeError(f"{entry.full_name} is no map")
    fields = entry.message_type.fields_by_name
    if fields["key"].type != FieldDescriptor.TYPE_STRING:
        raise TypeError(f"{entry.full_name} has keys that are no strings")
    return fields["value"]
