"""Encodings that are kept, of what is encoded again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

from dataflow.core.spec import PipelineSpec

Encode: TypeAlias = Callable[[Any, Any], None]

KEPT: Mapping[type, Sequence[str]] = {
    PipelineSpec: ("source", "transforms", "sink", "options", "sources", "sinks")
}
"""The fields that versions of a spec, and pipelines made alike, share as the same immutable
objects; encoding them again took 7 of the 15 us of an event."""

KEPT_MAX, KEPT_BYTES_MAX = 4_096, 4_096
"""2 MB of usual specs, 16 MB at the very most."""


def once(names: Sequence[str], encode: Encode) -> Encode:
    """Return an encoder that knows fields again: the same objects in them, the same bytes.

    ``encode`` sets nothing but these fields.
    """
    shared = attrgetter(*names)
    kept: dict[tuple[int, ...], tuple[tuple[object, ...], bytes]] = {}

    def encode_once(value: Any, message: Any) -> None:  # noqa: ANN401 - any twin
        objects = shared(value)
        key = tuple(map(id, objects))
        known = kept.get(key)
        if known is not None:
            message.MergeFromString(known[1])
            return
        alone = type(message)()
        encode(value, alone)
        encoded = alone.SerializeToString(deterministic=True)
        message.MergeFromString(encoded)
        if len(encoded) <= KEPT_BYTES_MAX:
            if len(kept) >= KEPT_MAX:
                kept.clear()
            kept[key] = objects, encoded  # with the objects, or an id could become another's

    return encode_once
