"""What every coordination service refuses, so that none of them can be kinder than another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from dataflow.cluster.coordination.contract import (
    Compacted,
    Condition,
    Effect,
    LeaseId,
    LeaseLost,
    Put,
    Revision,
)
from dataflow.core.errors import Code, Rejected

OPERATIONS_MAX = 128
"""Conditions, or effects, of one transaction: etcd's ``--max-txn-ops``."""

TRANSACTION_BYTES_MAX = 1 << 20
"""Keys and values of one transaction: two thirds of etcd's ``--max-request-bytes``."""

TTL_MAX = timedelta(seconds=9_000_000_000)
"""etcd's ``MaxLeaseTTL``."""


def check_ttl(ttl: timedelta) -> None:
    """Refuse a lease that would be over as it begins, or never.

    Raises:
        Rejected: it would.
    """
    if not timedelta() < ttl <= TTL_MAX:
        raise Rejected(f"{ttl} is no time for a lease to live", field="ttl")


def check_transaction(conditions: Sequence[Condition], effects: Sequence[Effect]) -> None:
    """Refuse a transaction that some service could not carry out.

    Raises:
        Rejected: it is too large (``TOO_LARGE``), or one key has two effects.
    """
    if max(len(conditions), len(effects)) > OPERATIONS_MAX:
        raise Rejected(
            f"{len(conditions)} conditions and {len(effects)} effects:"
            f" a transaction has at most {OPERATIONS_MAX} of each",
            code=Code.TOO_LARGE,
        )
    keys = [operation.key.encode() for operation in (*conditions, *effects)]
    size = sum(map(len, keys)) + sum(len(e.value) for e in effects if isinstance(e, Put))
    if size > TRANSACTION_BYTES_MAX:
        raise Rejected(
            f"keys and values of {size} bytes: a transaction has at most {TRANSACTION_BYTES_MAX}",
            code=Code.TOO_LARGE,
        )
    if not all(keys):
        raise Rejected("a key is empty", field="key")
    key, count = max(Counter(e.key for e in effects).items(), key=lambda i: i[1], default=("", 0))
    if count > 1:
        raise Rejected(f"{key} has {count} effects: which comes last would be chance", field="key")


def lease_lost(lease: LeaseId) -> LeaseLost:
    """Return the error about a lease that is not there."""
    return LeaseLost(f"lease {lease:x} has expired or was revoked")


def compacted(after: Revision, known: Revision) -> Compacted:
    """Return the error about a watch that begins where the service does not know what follows.

    ``known`` is the first revision that it remembers, or the last one that there was.
    """
    how = "are forgotten up to" if after < known else "are to come: the service has come only to"
    return Compacted(f"the changes behind revision {after} {how} {known}: list, and watch again")
