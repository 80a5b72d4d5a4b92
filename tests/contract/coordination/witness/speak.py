"""The etcd3 package as a witness: runs in an environment of its own, and answers lines of JSON.

Each line names a question and its arguments; each answer is one line. Bytes travel as latin-1.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import etcd3  # type: ignore[import-not-found]  # installed where this runs, and nowhere else

ANSWER_S_MAX = 30


class Witness:
    """Each method is a question."""

    def __init__(self, host: str, port: int) -> None:
        self._client = etcd3.client(host=host, port=port, timeout=ANSWER_S_MAX)

    def list(self, prefix: str) -> object:
        """Return key, value, revision and lease of each key under a prefix."""
        found = self._client.get_prefix(prefix, sort_order="ascend", sort_target="key")
        return [
            [meta.key.decode(), value.decode("latin-1"), meta.mod_revision, meta.lease_id]
            for value, meta in found
        ]

    def put(self, key: str, value: str, lease: int = 0) -> object:
        """Put a key and return the revision."""
        return self._client.put(key, value.encode("latin-1"), lease or None).header.revision

    def replace(self, key: str, revision: int, value: str) -> object:
        """Put a key if its latest change is at a revision; return whether it was."""
        succeeded, _ = self._client.transaction(
            compare=[self._client.transactions.mod(key) == revision],
            success=[self._client.transactions.put(key, value.encode("latin-1"))],
            failure=[],
        )
        return succeeded

    def delete(self, key: str) -> object:
        """Delete a key and return whether it was there."""
        return self._client.delete(key)

    def grant(self, ttl_s: int) -> object:
        """Return a new lease."""
        return self._client.lease(ttl_s).id

    def revoke(self, lease: int) -> object:
        """End a lease."""
        self._client.revoke_lease(lease)
        return None

    def lease(self, lease: int) -> object:
        """Return the time that a lease was granted, what is left of it, and its keys."""
        info = self._client.get_lease_info(lease)
        return [info.grantedTTL, info.TTL, sorted(key.decode() for key in info.keys)]

    def watch(self, prefix: str, start: int, count: int) -> object:
        """Return so many changes from a revision on: key, value or nothing, revision."""
        events, cancel = self._client.watch_prefix(prefix, start_revision=start)
        found = []
        for event in events:
            put = isinstance(event, etcd3.events.PutEvent)
            value = event.value.decode("latin-1") if put else None
            found.append([event.key.decode(), value, event.mod_revision])
            if len(found) == count:
                break
        cancel()
        return found


def main() -> None:
    """Answer until there are no more questions."""
    witness = Witness(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        question: dict[str, Any] = json.loads(line)
        answer = getattr(witness, question.pop("ask"))(**question)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
