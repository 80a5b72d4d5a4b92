"""The map of a cluster, from a listing and from changes alike."""

from __future__ import annotations

import pytest

from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.coordination.contract import Change, Entry, Listing, Revision
from dataflow.cluster.registration import value_bytes
from dataflow.core.errors import Corrupted
from dataflow.core.ids import NodeId, ShardId
from tests.unit.cluster.clusters import KEYS, cluster, ownership, registration


def put(key: str, value: bytes, revision: int) -> Change:
    """Return a key that was put."""
    return Change(key, Entry(key, value, Revision(revision)), Revision(revision))


def test_changes_lead_to_the_map_that_a_listing_gives() -> None:
    """A node that watched and one that listed must want the same."""
    listed = cluster(registration("a"), owners={0: ownership("a")})
    entries = sorted(listed.entries.values(), key=lambda entry: entry.revision)
    watched = ClusterMap(KEYS)
    for entry in entries:
        watched = watched.after([Change(entry.key, entry, entry.revision)])
    assert (watched.nodes, watched.owners, watched.meta, watched.entries) == (
        listed.nodes,
        listed.owners,
        listed.meta,
        listed.entries,
    )


def test_a_deleted_key_is_gone_from_the_map_and_the_map_before_keeps_it() -> None:
    """Maps are values: who still decides by the older one is not surprised halfway."""
    before = cluster(registration("a"), owners={0: ownership("a")})
    after = before.after([Change(KEYS.owner(ShardId(0)), None, Revision(101))])
    assert (len(before.owners), len(after.owners), after.revision) == (1, 0, 101)


def test_an_owner_of_another_boot_is_no_owner() -> None:
    """The node came back; what its former self owned it does not serve."""
    seen = cluster(registration("a", boot="a-2"), owners={0: ownership("a")})
    assert seen.owner(ShardId(0)) is None
    assert seen.owned_by(NodeId("a")) == [0]


def test_a_value_that_no_node_wrote_is_named() -> None:
    """Somebody wrote into the cluster's keys by hand."""
    change = put(KEYS.owner(ShardId(0)), b"me!", 5)
    with pytest.raises(Corrupted, match="c/owners/0 holds no Ownership"):
        ClusterMap(KEYS).after([change])


def test_a_key_that_names_no_shard_is_named() -> None:
    """As above; the node ends, and says why."""
    with pytest.raises(Corrupted, match="c/owners/x names no shard"):
        ClusterMap(KEYS).after([put("c/owners/x", value_bytes(ownership("a")), 5)])


def test_keys_of_a_newer_release_are_left_alone() -> None:
    """A rolling upgrade has nodes of two releases side by side."""
    seen = ClusterMap(KEYS).after([put("c/epochs/3", b"?", 5)])
    assert (seen.revision, seen.nodes) == (5, {})
    more = value_bytes(registration("a"))[:-1] + b',"zone":"west"}'
    assert ClusterMap.of(
        KEYS, Listing(Revision(9), [Entry(KEYS.node(NodeId("a")), more, Revision(9))])
    ).nodes
