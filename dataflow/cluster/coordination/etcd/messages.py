"""The contract's values as etcd's messages, and back."""

from __future__ import annotations

from collections.abc import Sequence

from dataflow.cluster.coordination import contract as c
from dataflow.v1 import etcd_pb2 as pb

COMPARE_REVISION = 2
"""etcd's ``Compare.MOD``."""

NO_SUCH_KEY = 0
"""The revision that etcd compares with where there is no key."""

EVERYTHING = b"\0"
"""As a key the first of all, as an end none."""


def encoded(key: str) -> bytes:
    """Return a key's bytes; those of a key that others wrote, and that is no text, come back."""
    return key.encode("utf-8", "surrogateescape")


def decoded(key: bytes) -> str:
    """Return a key as text."""
    return key.decode("utf-8", "surrogateescape")


def span(prefix: str) -> tuple[bytes, bytes]:
    """Return the keys under a prefix, from one to before another.

    No byte of UTF-8 is the largest one, so the last can always be counted up.
    """
    first = encoded(prefix)
    if not first:
        return EVERYTHING, EVERYTHING
    return first, first[:-1] + bytes([first[-1] + 1])


def entry(found: pb.EtcdKeyValue) -> c.Entry:
    """Return a key as it stands."""
    return c.Entry(
        decoded(found.key),
        found.value,
        c.Revision(found.mod_revision),
        c.LeaseId(found.lease_id),
    )


def change(event: pb.EtcdEvent) -> c.Change:
    """Return what has become of a key."""
    found = entry(event.kv)
    return c.Change(found.key, None if event.deleted else found, found.revision)


def transaction(
    conditions: Sequence[c.Condition], effects: Sequence[c.Effect]
) -> pb.EtcdTxnRequest:
    """Return a transaction that, where it is refused, reads what its conditions speak of."""
    keys = sorted({encoded(condition.key) for condition in conditions})
    return pb.EtcdTxnRequest(
        compare=map(_compare, conditions),
        success=map(_operation, effects),
        failure=[pb.EtcdOperation(range=pb.EtcdRangeRequest(key=key)) for key in keys],
    )


def transacted(answer: pb.EtcdTxnResponse) -> c.Transacted:
    """Return what became of a transaction."""
    found = () if answer.succeeded else (kv for r in answer.responses for kv in r.range.kvs)
    entries = map(entry, found)
    return c.Transacted(
        succeeded=answer.succeeded,
        revision=c.Revision(answer.header.revision),
        found={found.key: found for found in entries},
    )


def _compare(condition: c.Condition) -> pb.EtcdCompare:
    revision = condition.revision if isinstance(condition, c.Unchanged) else NO_SUCH_KEY
    return pb.EtcdCompare(
        target=COMPARE_REVISION, key=encoded(condition.key), mod_revision=revision
    )


def _operation(effect: c.Effect) -> pb.EtcdOperation:
    key = encoded(effect.key)
    match effect:
        case c.Put():
            put = pb.EtcdPutRequest(key=key, value=effect.value, lease_id=effect.lease)
            return pb.EtcdOperation(put=put)
        case c.Delete():
            return pb.EtcdOperation(delete=pb.EtcdDeleteRequest(key=key))
