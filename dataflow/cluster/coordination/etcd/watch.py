"""A watch that goes on over lost connections, and loses and repeats nothing.

    opened ──created──▶ told ──changes, progress──▶ told
       ▲                  │ broken, silent, ended by the member
       └──────pause───────┘ (at the next member, behind what was seen)
                          │ begins before what is remembered
                          ▼
                      Compacted

Three numbers look alike. The revision in the header of a response is of the whole store when it was
sent, and runs ahead of a watch that is catching up: a watch that went on from there would lose what
lies between. What was *seen* is the revision of the last change whose companions are complete, or
that of a progress response, which a member sends when it has nothing more to tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import structlog

from dataflow.cluster.coordination import rules
from dataflow.cluster.coordination.contract import Change, Revision
from dataflow.cluster.coordination.etcd import errors, messages
from dataflow.cluster.coordination.etcd.calls import Again, Calls
from dataflow.cluster.coordination.etcd.place import Patience
from dataflow.cluster.coordination.etcd.rpcs import RANGE, WATCH
from dataflow.core.errors import Unavailable
from dataflow.v1 import etcd_pb2 as pb

log = structlog.get_logger()

PAUSES_S = (0.0, 0.05, 0.2, 0.5, 1.0)
"""Before each reopening in a row; the last one for all that follow."""

PROGRESS = pb.EtcdWatchRequest(progress=pb.EtcdWatchProgress())


class Reader:
    """Makes responses into whole transactions; knows what was seen."""

    def __init__(self, after: Revision) -> None:
        self.seen = after
        self._open: list[Change] = []

    def restart(self) -> None:
        """Forget the half of a transaction, which will come again whole."""
        self._open = []

    def read(self, response: pb.EtcdWatchResponse) -> Sequence[Sequence[Change]]:
        """Return the transactions that are now complete."""
        complete: list[Sequence[Change]] = []
        for event in response.events:
            change = messages.change(event)
            if change.revision <= self.seen:
                continue
            if self._open and self._open[0].revision != change.revision:
                complete.append(self._close())
            self._open.append(change)
        if self._open and not response.fragment:
            complete.append(self._close())
        if not response.events and not response.created and not self._open:
            self.seen = max(self.seen, Revision(response.header.revision))
        return complete

    def _close(self) -> Sequence[Change]:
        changes, self._open = self._open, []
        self.seen = changes[0].revision
        return changes


class Watch:
    """One watch, at one member after another."""

    def __init__(self, calls: Calls, patience: Patience, prefix: str, after: Revision) -> None:
        self._calls = calls
        self._progress_s = patience.progress.total_seconds()
        self._silence_s = patience.silence.total_seconds()
        self._prefix = prefix
        self._reader = Reader(after)
        self._failures = 0

    async def changes(self) -> AsyncIterator[Sequence[Change]]:
        """See ``Coordination.watch``."""
        while True:
            member = self._calls.members.current
            stream = self._calls.stream(member, WATCH, self._requests(), self._silence_s)
            try:
                async with aclosing(stream):
                    async for response in stream:
                        await self._check(response)
                        for group in self._reader.read(response):
                            yield group
            except Again as again:
                self._calls.members.failed(member)
                await self._pause(again)

    async def _check(self, response: pb.EtcdWatchResponse) -> None:
        """Look whether a response says that the watch cannot go on like this.

        Raises:
            Compacted: what it would begin with is forgotten.
            Again: the member has ended it.
        """
        seen = self._reader.seen
        if response.compact_revision:
            raise rules.compacted(seen, Revision(response.compact_revision))
        if response.canceled:
            if errors.is_old_token_reason(response.cancel_reason):
                self._calls.log_in_again()
            raise self._ended(response.cancel_reason)
        if response.created and response.header.revision < seen:
            await self._check_history(seen)
        if not response.created:
            self._failures = 0

    async def _check_history(self, seen: Revision) -> None:
        """Find out whether a member that has not come so far is behind, or its history is another.

        Raises:
            Compacted: etcd was restored from a backup; this watch would wait for its revision.
            Again: only the member is behind.
        """
        key, end = messages.span(self._prefix)
        request = pb.EtcdRangeRequest(key=key, range_end=end, count_only=True)
        try:
            now = Revision((await self._calls.ask(RANGE, request)).header.revision)
        except Unavailable as error:
            raise Again(error) from error
        if now < seen:
            raise rules.compacted(seen, now)
        raise Again(Unavailable("the member is behind"))

    async def _requests(self) -> AsyncIterator[pb.EtcdWatchRequest]:
        """Open the watch at what was seen, and not behind it, and ask for progress ever after.

        A member does not answer that of a watch whose first revision is yet to come, so a
        quiet one would look dead (etcd's ``progressIfSync``).
        """
        key, end = messages.span(self._prefix)
        start = max(1, self._reader.seen)  # 0 would be "from now on"
        create = pb.EtcdWatchCreate(key=key, range_end=end, start_revision=start, fragment=True)
        yield pb.EtcdWatchRequest(create=create)
        while True:
            await asyncio.sleep(self._progress_s)
            yield PROGRESS

    def _ended(self, reason: str) -> Exception:
        meaning = errors.cancelled(reason)
        return Again(meaning) if isinstance(meaning, Unavailable) else meaning

    async def _pause(self, again: Again) -> None:
        self._reader.restart()
        if self._failures == len(PAUSES_S):
            log.warning("watch cannot be reopened", prefix=self._prefix, why=str(again.meaning))
        await asyncio.sleep(PAUSES_S[min(self._failures, len(PAUSES_S) - 1)])
        self._failures += 1
