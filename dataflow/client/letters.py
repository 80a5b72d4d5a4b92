"""What a client can do about dead letters: see why they are there, replay them, purge them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from dataflow.client.connection import Connection
from dataflow.client.messages import (
    DeadLetterCause,
    PurgeDeadLettersResponse,
    ReplayDeadLettersResponse,
)
from dataflow.v1.pipeline_pb2 import (
    ListDeadLetterCausesRequest,
    PurgeDeadLettersRequest,
    ReplayDeadLettersRequest,
)


class Letters:
    """Letters are named by ``ids``, or by their ``step`` and a text in their ``error``; or all."""

    _connection: Connection

    async def dead_letter_causes(
        self, pipeline_id: str, *, timeout: timedelta | None = None
    ) -> Sequence[DeadLetterCause]:
        """Return why records were kept, the most frequent first."""
        asked = ListDeadLetterCausesRequest(pipeline_id=pipeline_id)
        stub = self._connection.stub
        found = await self._connection.call(stub.ListDeadLetterCauses, asked, timeout)
        return list(found.causes)

    async def replay_dead_letters(
        self,
        pipeline_id: str,
        *,
        ids: Sequence[str] = (),
        step: str = "",
        error: str = "",
        all: bool = False,  # noqa: A002 - as it is in proto/
        set: Mapping[str, str] | None = None,  # noqa: A002 - as it is in proto/
        record: str = "",
        command_id: str = "",
        timeout: timedelta | None = None,
    ) -> ReplayDeadLettersResponse:
        """Bring records back to the step that refused them, each once; the answer says when.

        Args:
            pipeline_id: the pipeline.
            ids: of letters, as their list has them.
            step: all of this step.
            error: all with this text in their error.
            all: all there are.
            set: expressions by column, over the record as it was. Those over a source's letter
                read its text, as the column ``record``; what is not set of it is NULL, or the
                field of the text if that is a JSON object.
            record: a whole new record of one letter, a JSON object as text.
            command_id: as of all commands.
            timeout: as of all requests.

        Raises:
            Rejected: a letter is not there, or the patch does not fit; ``field`` says which.
        """
        asked = ReplayDeadLettersRequest(
            pipeline_id=pipeline_id,
            ids=ids,
            step=step,
            error=error,
            all=all,
            set=set or {},
            record=record,
            command_id=command_id or self._connection.new_id(),
        )
        return await self._connection.call(self._connection.stub.ReplayDeadLetters, asked, timeout)

    async def purge_dead_letters(
        self,
        pipeline_id: str,
        *,
        ids: Sequence[str] = (),
        step: str = "",
        error: str = "",
        all: bool = False,  # noqa: A002 - as it is in proto/
        timeout: timedelta | None = None,
    ) -> PurgeDeadLettersResponse:
        """Let records be gone for good."""
        asked = PurgeDeadLettersRequest(
            pipeline_id=pipeline_id, ids=ids, step=step, error=error, all=all
        )
        return await self._connection.call(self._connection.stub.PurgeDeadLetters, asked, timeout)
