"""What a coordination service promises.

A small ordered store of keys. A key put under a lease goes with it: it is deleted when the lease is
revoked or expires. Every change has a revision, which only grows; a transaction is one revision.

It says who is probably alive, and nothing more: a lease that expired on the service may still be
believed in by its holder. What must not happen twice is guarded by the journal's fences.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NewType, Protocol, TypeAlias

from dataflow.core.errors import Fenced, Unavailable
from dataflow.core.light import light

Revision = NewType("Revision", int)
LeaseId = NewType("LeaseId", int)

NO_LEASE = LeaseId(0)


@light
@dataclass(frozen=True, slots=True)
class Entry:
    """A key as it stands."""

    key: str
    value: bytes
    revision: Revision
    """Of the latest change to it."""
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True)
class Listing:
    """The keys under a prefix, in order, all as of one revision."""

    revision: Revision
    entries: Sequence[Entry]


@light
@dataclass(frozen=True, slots=True)
class Change:
    """A key was put, or deleted (no ``entry``), at ``revision``."""

    key: str
    entry: Entry | None
    revision: Revision


@dataclass(frozen=True, slots=True)
class Absent:
    """(a condition) There is no such key."""

    key: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """(a condition) The latest change to a key is the one at ``revision``."""

    key: str
    revision: Revision


@dataclass(frozen=True, slots=True)
class Put:
    """(an effect) Set a key, under a lease or for ever."""

    key: str
    value: bytes
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True)
class Delete:
    """(an effect) Remove a key, if it is there."""

    key: str


Condition: TypeAlias = Absent | Unchanged
Effect: TypeAlias = Put | Delete


@dataclass(frozen=True, slots=True)
class Transacted:
    """What became of a transaction."""

    succeeded: bool
    """Every condition held, and every effect has happened; else none has."""
    revision: Revision
    found: Mapping[str, Entry]
    """Of a refused one: what stands under the keys of its conditions, where anything does."""


class LeaseLost(Fenced):
    """The lease has expired or was revoked: its keys are gone, and others may have taken them."""


class Compacted(Unavailable):
    """A watch would begin at a revision that is forgotten: list again, and watch from there."""


class Coordination(Protocol):
    """A client of the service. Every call ends within a bounded time.

    All methods raise ``Unavailable`` when no member answers in time: with code
    ``OUTCOME_UNKNOWN`` where something may have changed. Nothing is repeated on its own that
    would not be the same twice: after an unknown outcome the caller reads.
    """

    async def grant(self, ttl: timedelta) -> LeaseId:
        """Return a new lease that expires ``ttl`` after its last keepalive, or a little later."""
        ...

    async def keep_alive(self, lease: LeaseId) -> timedelta:
        """Keep a lease for its whole time again; return that time.

        Raises:
            LeaseLost: there is no such lease any more.
        """
        ...

    async def revoke(self, lease: LeaseId) -> None:
        """End a lease and delete its keys; one that has ended already is no error."""
        ...

    async def list(self, prefix: str) -> Listing:
        """Return the keys under a prefix; linearizable: what was acknowledged before shows."""
        ...

    async def transact(
        self, conditions: Sequence[Condition], effects: Sequence[Effect]
    ) -> Transacted:
        """Let the effects happen if all conditions hold, in one step.

        Conditions are judged first: of a refused transaction no lease is looked at.

        Raises:
            LeaseLost: a put names a lease that has ended; nothing happened.
            Unavailable: with code ``OUTCOME_UNKNOWN`` when it may have happened: list.
            Rejected: it is larger than ``rules`` allow, or one key has two effects.
        """
        ...

    def watch(self, prefix: str, after: Revision) -> AsyncIterator[Sequence[Change]]:
        """Yield the changes under a prefix behind a revision, in order, none twice, without end.

        A lost connection is made again and goes on behind the last change yielded, however long
        that takes: a reader that must not be behind lists from time to time. The changes of one
        transaction come together.

        Raises:
            Unavailable: the client is closed.
            Rejected: its user may not see these keys.
            Compacted: the changes behind ``after`` are forgotten, or ``after`` is to come: the
                service was restored from a backup, and counts again from there.
        """
        ...

    async def close(self) -> None:
        """Release everything; leases run out by themselves."""
        ...


class Keeper(Protocol):
    """Keeps leases from a thread of its own, beside an event loop that may be stuck."""

    def keep_alive(self, lease: LeaseId) -> timedelta:
        """See ``Coordination.keep_alive``; blocks, a tenth of a lease's time at most.

        Raises:
            LeaseLost: there is no such lease any more.
            Unavailable: no answer in time; the next call asks another member.
        """
        ...

    def close(self) -> None:
        """Release everything."""
        ...
