"""Calls to whichever member answers: bounded, and repeated only where that does no harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

from grpc import aio

from dataflow.cluster.coordination.etcd import errors
from dataflow.cluster.coordination.etcd.members import Member, Members
from dataflow.cluster.coordination.etcd.place import Patience, Place
from dataflow.cluster.coordination.etcd.rpcs import A, Metadata, Q, Rpc
from dataflow.cluster.coordination.etcd.session import Session
from dataflow.core.errors import Code, DataFlowError, Unavailable

PAUSE_S = 0.05
"""Between attempts: members that refuse at once, for want of a leader, are not asked in a spin."""


class Again(Exception):
    """An attempt has failed in a way that lets another be made."""

    def __init__(self, meaning: DataFlowError) -> None:
        super().__init__(meaning)
        self.meaning = meaning


@dataclass(frozen=True, slots=True)
class Rule:
    """How long an attempt may take, and after which failures another may follow."""

    attempt_s: float
    repeatable: Callable[[errors.Failure], bool]
    changing: bool


class Calls:
    """Asks one member after another."""

    def __init__(self, place: Place, patience: Patience) -> None:
        self.members = Members(place)
        self._session = Session(place.login)
        self._patience = patience
        self._attempt_s = patience.attempt.total_seconds()

    async def ask(self, rpc: Rpc[Q, A], request: Q, *, changing: bool = False) -> A:
        """Ask until somebody answers; for what may be done twice.

        Raises:
            Unavailable: nobody did, in time; if ``changing``, perhaps with ``OUTCOME_UNKNOWN``.
            DataFlowError: as ``errors.translated`` says.
        """
        rule = Rule(self._attempt_s, errors.may_be_repeated, changing)
        return await self._ask(rpc, request, rule)

    async def once(self, rpc: Rpc[Q, A], request: Q) -> A:
        """Ask until a member may have taken the request in, and never again after that.

        Raises:
            Unavailable: with ``OUTCOME_UNKNOWN`` when it may have been carried out.
            DataFlowError: as ``errors.translated`` says.
        """
        transaction_s = self._patience.transaction.total_seconds()
        return await self._ask(rpc, request, Rule(transaction_s, errors.never_happened, True))

    async def stream(
        self, member: Member, rpc: Rpc[Q, A], requests: AsyncIterator[Q], silence_s: float
    ) -> AsyncGenerator[A, None]:
        """Yield what one member says, until it ends the stream or is silent for too long.

        Raises:
            Unavailable: the stream is broken, the member silent, or the client closed.
            DataFlowError: as ``errors.translated`` says.
        """
        with self.members.using():
            metadata = await self._prepare(member)
            call = member.stream(rpc, requests, metadata)
        try:
            while True:
                with self.members.using():
                    async with asyncio.timeout(silence_s):
                        answer = await call.read()
                if not isinstance(answer, rpc.answer):  # but the end of the stream
                    raise Again(Unavailable(f"{member.endpoint} has ended the stream"))
                yield answer
        except TimeoutError as error:
            raise Again(Unavailable(f"{member.endpoint} is silent")) from error
        except aio.AioRpcError as error:
            raise self._judged(error, metadata, errors.may_be_repeated) from error
        finally:
            call.cancel()

    def log_in_again(self) -> None:
        """Take the token for an old one, as a member said where no call has failed."""
        self._session.forget()

    async def close(self) -> None:
        """End every call and connection."""
        await self.members.close()

    async def _ask(self, rpc: Rpc[Q, A], request: Q, rule: Rule) -> A:
        loop = asyncio.get_running_loop()
        last_s = loop.time() + self._patience.call.total_seconds()
        failure: DataFlowError | None = None
        while True:
            member = self.members.current
            try:
                with self.members.using(changing=rule.changing):
                    return await self._attempt(member, rpc, request, rule)
            except Again as again:
                self.members.failed(member)
                if failure is None or failure.code != Code.OUTCOME_UNKNOWN:
                    failure = again.meaning
                if loop.time() >= last_s:
                    raise failure from again.__cause__
            await asyncio.sleep(PAUSE_S)

    async def _attempt(self, member: Member, rpc: Rpc[Q, A], request: Q, rule: Rule) -> A:
        metadata = await self._prepare(member)
        try:
            return await member.call(rpc, request, metadata, rule.attempt_s)
        except aio.AioRpcError as error:
            judged = self._judged(error, metadata, rule.repeatable, changing=rule.changing)
            if isinstance(judged, DataFlowError) and judged.code == Code.OUTCOME_UNKNOWN:
                self.members.failed(member)  # the caller reads next: of another one
            raise judged from error

    async def _prepare(self, member: Member) -> Metadata:
        """Connect and log in: all that can be done before anything is sent.

        Raises:
            Again: it cannot be done with this member now.
            DataFlowError: it cannot be done at all.
        """
        if not await member.connect(self._attempt_s):
            raise Again(Unavailable(f"{member.endpoint}: no connection in time"))
        try:
            return await self._session.metadata(member, self._patience.login.total_seconds())
        except TimeoutError as error:
            raise Again(Unavailable(f"{member.endpoint}: no login in time")) from error
        except aio.AioRpcError as error:
            raise self._judged(error, (), errors.may_be_repeated) from error

    def _judged(
        self,
        error: errors.Failure,
        metadata: Metadata,
        repeatable: Callable[[errors.Failure], bool],
        *,
        changing: bool = False,
    ) -> Again | DataFlowError:
        meaning = errors.translated(error, changing=changing)
        if errors.is_old_token(error):
            self._session.refused(metadata)
            return Again(meaning)
        return Again(meaning) if repeatable(error) else meaning
