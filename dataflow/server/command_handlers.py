"""The rpcs that change something: from a request to a durable answer.

A handler takes the request and what is known of its call, and returns the response or raises an
error of ``dataflow.core.errors``. The names are those of the service in proto/.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

from google.protobuf.message import Message

from dataflow.core import ids
from dataflow.core.answers import Answer
from dataflow.server import answers
from dataflow.server.backend import Backend
from dataflow.server.call import Call
from dataflow.server.checker import off_loop
from dataflow.server.commands import Commands, response, stop_deadline
from dataflow.server.errors import NewId
from dataflow.server.ingest import ingest_batch
from dataflow.v1 import pipeline_pb2

M = TypeVar("M", bound=Message)
S = TypeVar("S", pipeline_pb2.StopPipelineResponse, pipeline_pb2.PausePipelineResponse)

PAUSE_PATIENCE = timedelta(seconds=30)
"""A pause has no deadline of its own."""

STOP_MARGIN = timedelta(seconds=5)
"""Beyond a stop's deadline: for the owner to give the run up and journal it."""

ANSWER_MARGIN = timedelta(milliseconds=500)
"""Before a call's deadline: to tell what is still under way, rather than nothing."""


class CommandHandlers:
    """Every unary rpc with a command or a batch."""

    def __init__(self, backend: Backend, commands: Commands, new_id: NewId) -> None:
        self._backend = backend
        self._commands = commands
        self._new_id = new_id

    async def CreatePipeline(
        self, request: pipeline_pb2.CreatePipelineRequest, call: Call
    ) -> pipeline_pb2.CreatePipelineResponse:
        """Make a pipeline."""
        return await self._execute(request, call, pipeline_pb2.CreatePipelineResponse)

    async def UpdatePipeline(
        self, request: pipeline_pb2.UpdatePipelineRequest, call: Call
    ) -> pipeline_pb2.UpdatePipelineResponse:
        """Replace its spec."""
        return await self._execute(request, call, pipeline_pb2.UpdatePipelineResponse)

    async def DeletePipeline(
        self, request: pipeline_pb2.DeletePipelineRequest, call: Call
    ) -> pipeline_pb2.DeletePipelineResponse:
        """End it for good."""
        return await self._execute(request, call, pipeline_pb2.DeletePipelineResponse)

    async def StartPipeline(
        self, request: pipeline_pb2.StartPipelineRequest, call: Call
    ) -> pipeline_pb2.StartPipelineResponse:
        """Let it run."""
        return await self._execute(request, call, pipeline_pb2.StartPipelineResponse)

    async def StopPipeline(
        self, request: pipeline_pb2.StopPipelineRequest, call: Call
    ) -> pipeline_pb2.StopPipelineResponse:
        """Let it finish its last checkpoint; answered when it has stopped."""
        patience = stop_deadline(request) + STOP_MARGIN
        answered = await self._execute(request, call, pipeline_pb2.StopPipelineResponse)
        return await self._settle(answered, call, patience)

    async def PausePipeline(
        self, request: pipeline_pb2.PausePipelineRequest, call: Call
    ) -> pipeline_pb2.PausePipelineResponse:
        """Let it finish its checkpoint; answered when it is paused."""
        answered = await self._execute(request, call, pipeline_pb2.PausePipelineResponse)
        return await self._settle(answered, call, PAUSE_PATIENCE)

    async def ResumePipeline(
        self, request: pipeline_pb2.ResumePipelineRequest, call: Call
    ) -> pipeline_pb2.ResumePipelineResponse:
        """Let a paused one go on."""
        return await self._execute(request, call, pipeline_pb2.ResumePipelineResponse)

    async def ResetPipeline(
        self, request: pipeline_pb2.ResetPipelineRequest, call: Call
    ) -> pipeline_pb2.ResetPipelineResponse:
        """Make a failed one startable."""
        return await self._execute(request, call, pipeline_pb2.ResetPipelineResponse)

    async def RollbackPipeline(
        self, request: pipeline_pb2.RollbackPipelineRequest, call: Call
    ) -> pipeline_pb2.RollbackPipelineResponse:
        """Take an old spec again."""
        return await self._execute(request, call, pipeline_pb2.RollbackPipelineResponse)

    async def ReplayPipeline(
        self, request: pipeline_pb2.ReplayPipelineRequest, call: Call
    ) -> pipeline_pb2.ReplayPipelineResponse:
        """Read again."""
        return await self._execute(request, call, pipeline_pb2.ReplayPipelineResponse)

    async def IngestBatch(
        self, request: pipeline_pb2.IngestBatchRequest, call: Call
    ) -> pipeline_pb2.IngestBatchResponse:
        """Push records; answered when they are durable."""
        return await ingest_batch(self._backend, request, call.command_id or self._new_id())

    async def _execute(self, request: Any, call: Call, cls: type[M]) -> M:  # noqa: ANN401 - any command
        command = await off_loop(request, lambda: self._commands.command(request, call))
        [answer] = await self._backend.execute([command])
        if not isinstance(answer, Answer):
            raise answer
        return response(answer, cls)

    async def _settle(self, answered: S, call: Call, patience: timedelta) -> S:
        """Wait until a stop or pause is through, and answer with what came of it."""
        pipeline = ids.PipelineId(answered.pipeline_id)
        patience = min(patience, call.time_left - ANSWER_MARGIN)
        state = await self._backend.settled(pipeline, max(patience, timedelta()))
        return answers.settled(answered, state)
