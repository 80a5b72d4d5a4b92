"""The rpcs that mend dead letters: why they are there, replay, purge.

A handler takes the request and what is known of its call, and returns the response or raises an
error of ``dataflow.core.errors``. The names are those of the service in proto/.
"""

from __future__ import annotations

from typing import TypeAlias

from dataflow.core import ids
from dataflow.core.errors import Rejected
from dataflow.core.state import Status
from dataflow.server.backend import Backend, Patch, ReplayLetters, Setting, Wanted
from dataflow.server.call import Call
from dataflow.server.commands import known
from dataflow.server.errors import NewId
from dataflow.v1 import pipeline_pb2
from dataflow.wire.core import to_message

Naming: TypeAlias = pipeline_pb2.ReplayDeadLettersRequest | pipeline_pb2.PurgeDeadLettersRequest

IDS_MAX = 10_000
"""Of one request; as many as one replay takes."""

NONE, SOON, LATER = (
    "no letter was found that waits",
    "the run takes them within seconds; what of it has ended, the next start",
    "start or resume the pipeline: that replays them",
)


class LetterHandlers:
    """Every rpc about dead letters but their list."""

    def __init__(self, backend: Backend, new_id: NewId) -> None:
        self._backend = backend
        self._new_id = new_id

    async def ListDeadLetterCauses(
        self, request: pipeline_pb2.ListDeadLetterCausesRequest, _: Call
    ) -> pipeline_pb2.ListDeadLetterCausesResponse:
        """Say why letters were kept."""
        causes = await self._backend.letter_causes(known(request.pipeline_id))
        return pipeline_pb2.ListDeadLetterCausesResponse(
            causes=[to_message(cause, pipeline_pb2.DeadLetterCause) for cause in causes]
        )

    async def ReplayDeadLetters(
        self, request: pipeline_pb2.ReplayDeadLettersRequest, call: Call
    ) -> pipeline_pb2.ReplayDeadLettersResponse:
        """Ask for letters to be replayed; answered when that is durable."""
        pipeline, wanted = known(request.pipeline_id), _wanted(request)
        settings = tuple(Setting(*each) for each in sorted(request.set.items()))
        if settings and request.record:
            raise Rejected("give a whole record, or what is set of it", field="record")
        name = ids.command_id(request.command_id or call.command_id or self._new_id())
        asking = ReplayLetters(name, wanted, Patch(settings, request.record))
        asked = await self._backend.replay_letters(pipeline, asking)
        shown = await self._backend.pipeline(pipeline)
        when = SOON if shown.state.status is Status.RUNNING else LATER
        return pipeline_pb2.ReplayDeadLettersResponse(
            pipeline_id=pipeline,
            replay_id=asked.id,
            letters=asked.letters,
            left=asked.left,
            message=when if asked.letters else NONE,
        )

    async def PurgeDeadLetters(
        self, request: pipeline_pb2.PurgeDeadLettersRequest, _: Call
    ) -> pipeline_pb2.PurgeDeadLettersResponse:
        """Let letters be gone for good."""
        pipeline = known(request.pipeline_id)
        gone = await self._backend.purge_letters(pipeline, _wanted(request))
        return pipeline_pb2.PurgeDeadLettersResponse(pipeline_id=pipeline, letters=gone)


def _wanted(request: Naming) -> Wanted:
    """Return which letters are meant; that all are has to be said.

    Raises:
        Rejected: none are named, or some and all, or too many.
    """
    wanted = Wanted(tuple(request.ids), request.step, request.error)
    if request.all == (wanted != Wanted()):
        raise Rejected("name letters by ids, step or error, or say all: true", field="all")
    if len(wanted.ids) > IDS_MAX:
        raise Rejected(f"name at most {IDS_MAX}", field="ids")
    return wanted
