"""What a client can ask a server to do, one command at a time."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from dataflow.client.connection import Connection
from dataflow.client.documents import Spec, create_command, duration, update_command
from dataflow.client.messages import (
    CreatePipelineResponse,
    DeletePipelineRequest,
    DeletePipelineResponse,
    PausePipelineRequest,
    PausePipelineResponse,
    ReplayPipelineRequest,
    ReplayPipelineResponse,
    ResetPipelineRequest,
    ResetPipelineResponse,
    ResumePipelineRequest,
    ResumePipelineResponse,
    RollbackPipelineRequest,
    RollbackPipelineResponse,
    StartPipelineRequest,
    StartPipelineResponse,
    StopPipelineRequest,
    StopPipelineResponse,
    UpdatePipelineResponse,
)
from dataflow.core.errors import Rejected
from dataflow.core.spec import Position

STOP_DEADLINE = timedelta(seconds=30)
"""What the server waits for a last checkpoint where the caller names nothing (pipeline.proto)."""


class Commands:
    """The commands. Each has an id before its first attempt, so a retry does nothing twice.

    All raise ``Rejected`` where the caller must change something, ``Unavailable`` where there was
    no answer within the timeout (``Unreachable`` where no server was found), and take

    * ``command_id``: made up where empty; give your own to retry across processes.
    * ``timeout``: the client's where None.
    """

    _connection: Connection

    async def create(
        self,
        spec: Spec,
        *,
        pipeline_id: str = "",
        command_id: str = "",
        timeout: timedelta | None = None,
    ) -> CreatePipelineResponse:
        """Make a pipeline. It does not run until it is started.

        Raises:
            Invalid: with every problem of the spec.
        """
        command = create_command(
            spec, pipeline_id=pipeline_id, command_id=command_id or self._connection.new_id()
        )
        method = self._connection.stub.CreatePipeline
        return await self._connection.call(method, command.create, timeout)

    async def update(
        self,
        pipeline_id: str,
        spec: Spec,
        *,
        position: Position = Position.UNSPECIFIED,
        command_id: str = "",
        timeout: timedelta | None = None,
    ) -> UpdatePipelineResponse:
        """Replace the spec of a pipeline that does not run; ``position`` if it reads elsewhere."""
        command = update_command(
            pipeline_id,
            spec,
            position=position,
            command_id=command_id or self._connection.new_id(),
        )
        method = self._connection.stub.UpdatePipeline
        return await self._connection.call(method, command.update, timeout)

    async def start(
        self, pipeline_id: str, *, command_id: str = "", timeout: timedelta | None = None
    ) -> StartPipelineResponse:
        """Let it run, from where it got to."""
        request = StartPipelineRequest(
            pipeline_id=pipeline_id, command_id=command_id or self._connection.new_id()
        )
        return await self._connection.call(self._connection.stub.StartPipeline, request, timeout)

    async def stop(
        self,
        pipeline_id: str,
        *,
        reason: str = "",
        deadline: timedelta | None = None,
        command_id: str = "",
        timeout: timedelta | None = None,
    ) -> StopPipelineResponse:
        """Let it finish its last checkpoint within ``deadline``, then stop; returns when it has.

        Without a timeout of its own it waits as long as the deadline, and the client's timeout
        beyond it.
        """
        request = StopPipelineRequest(
            pipeline_id=pipeline_id,
            reason=reason,
            deadline=duration(deadline),
            command_id=command_id or self._connection.new_id(),
        )
        longest = (deadline or STOP_DEADLINE) + self._connection.settings.timeout
        method = self._connection.stub.StopPipeline
        return await self._connection.call(method, request, timeout or longest)

    async def pause(
        self,
        pipeline_id: str,
        *,
        reason: str = "",
        command_id: str = "",
        timeout: timedelta | None = None,
    ) -> PausePipelineResponse:
        """Let it finish its checkpoint, then wait; returns when it is paused."""
        request = PausePipelineRequest(
            pipeline_id=pipeline_id,
            reason=reason,
            command_id=command_id or self._connection.new_id(),
        )
        longest = STOP_DEADLINE + self._connection.settings.timeout
        method = self._connection.stub.PausePipeline
        return await self._connection.call(method, request, timeout or longest)

    async def resume(
        self, pipeline_id: str, *, command_id: str = "", timeout: timedelta | None = None
    ) -> ResumePipelineResponse:
        """Let a paused pipeline go on."""
        request = ResumePipelineRequest(
            pipeline_id=pipeline_id, command_id=command_id or self._connection.new_id()
        )
        return await self._connection.call(self._connection.stub.ResumePipeline, request, timeout)

    async def reset(
        self, pipeline_id: str, *, command_id: str = "", timeout: timedelta | None = None
    ) -> ResetPipelineResponse:
        """Make a failed pipeline startable again; its position is kept."""
        request = ResetPipelineRequest(
            pipeline_id=pipeline_id, command_id=command_id or self._connection.new_id()
        )
        return await self._connection.call(self._connection.stub.ResetPipeline, request, timeout)

    async def rollback(
        self,
        pipeline_id: str,
        version: int,
        *,
        with_checkpoint: bool = False,
        command_id: str = "",
        timeout: timedelta | None = None,
    ) -> RollbackPipelineResponse:
        """Take an old version's spec again, as a new version; with its positions if asked."""
        request = RollbackPipelineRequest(
            pipeline_id=pipeline_id,
            version=version,
            with_checkpoint=with_checkpoint,
            command_id=command_id or self._connection.new_id(),
        )
        return await self._connection.call(self._connection.stub.RollbackPipeline, request, timeout)

    async def replay(
        self,
        pipeline_id: str,
        *,
        sequence: int = 0,
        time: datetime | None = None,
        command_id: str = "",
        timeout: timedelta | None = None,
    ) -> ReplayPipelineResponse:
        """Read again, from the last checkpoint audited by an event or a moment, or from the start.

        Raises:
            Rejected: both were given, or ``time`` has no zone.
        """
        if sequence and time is not None:
            raise Rejected("give a sequence number or a time, not both", field="time")
        request = ReplayPipelineRequest(
            pipeline_id=pipeline_id,
            sequence=sequence,
            command_id=command_id or self._connection.new_id(),
        )
        if time is not None:
            request.time.CopyFrom(_moment(time))
        return await self._connection.call(self._connection.stub.ReplayPipeline, request, timeout)

    async def delete(
        self, pipeline_id: str, *, command_id: str = "", timeout: timedelta | None = None
    ) -> DeletePipelineResponse:
        """End a pipeline for good. Its history stays, and its id is never used again."""
        request = DeletePipelineRequest(
            pipeline_id=pipeline_id, command_id=command_id or self._connection.new_id()
        )
        return await self._connection.call(self._connection.stub.DeletePipeline, request, timeout)


def _moment(time: datetime) -> Timestamp:
    if time.tzinfo is None:
        raise Rejected("say in which zone: give an aware datetime", field="time")
    message = Timestamp()
    message.FromDatetime(time)
    return message
