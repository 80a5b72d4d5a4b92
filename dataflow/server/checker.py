"""Checks the spec of a command, and remembers which steps were found good.

Checking steps (connectors' options, expressions) costs most of what a command costs: 1 ms of 1.5
under a profiler. Updates and pipelines made from one pattern have the same steps again and again,
so good ones are kept in their stored form; only what is about texts is looked at anew.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Literal, TypeAlias, TypeVar

from dataflow.core.light import replace
from dataflow.core.spec import PipelineSpec, text_problems
from dataflow.server.specs import Validate, checked, spec_of
from dataflow.v1 import pipeline_pb2

T = TypeVar("T")

KEPT_MAX = 4_096
KEPT_BYTES_MAX = 4_096
"""Of one request; with KEPT_MAX it bounds what is kept: measured at 37 MiB, usual specs at 7."""

SpecRequest: TypeAlias = pipeline_pb2.CreatePipelineRequest | pipeline_pb2.UpdatePipelineRequest
Key: TypeAlias = tuple[type[SpecRequest], bytes]

TEXTS: Sequence[Literal["pipeline_id", "command_id", "name", "description", "labels"]] = (
    "pipeline_id",
    "command_id",
    "name",
    "description",
    "labels",
)
"""Fields that no step depends on."""


async def off_loop(asked: object, check: Callable[[], T]) -> T:
    """Return what a check gives; in a thread where transforms are asked about.

    One of them may have its SELECT planned by another process, which can take seconds, and
    everybody else would wait. Without transforms a check takes less than the way to a thread.
    """
    return await asyncio.to_thread(check) if getattr(asked, "transforms", ()) else check()


class Checker:
    """From a request to the spec that is stored."""

    def __init__(self, validate: Validate) -> None:
        self._validate = validate
        self._kept: OrderedDict[Key, PipelineSpec] = OrderedDict()
        self._turn = Lock()
        """Checks run in threads, too."""

    def __call__(self, request: SpecRequest) -> PipelineSpec:
        """Return the stored form of a request's spec.

        Raises:
            Rejected: with every problem.
        """
        if request.ByteSize() > KEPT_BYTES_MAX:
            return checked(spec_of(request), self._validate)
        key = _steps(request)
        steps = self._known(key)
        if steps is None or text_problems(request.name, request.description, request.labels):
            stored = checked(spec_of(request), self._validate)
            self._keep(key, replace(stored, name="", description="", labels={}))
            return stored
        return replace(
            steps,
            name=request.name,
            description=request.description,
            labels=dict(request.labels),
        )

    def _known(self, key: Key) -> PipelineSpec | None:
        with self._turn:
            if (steps := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
            return steps

    def _keep(self, key: Key, steps: PipelineSpec) -> None:
        with self._turn:
            self._kept[key] = steps
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)


def _steps(request: SpecRequest) -> Key:
    """Return everything about a spec but its texts, as a key."""
    steps = type(request)()
    steps.CopyFrom(request)  # type: ignore[arg-type]  # of the same type
    for text in TEXTS:
        steps.ClearField(text)
    return type(request), steps.SerializeToString(deterministic=True)
