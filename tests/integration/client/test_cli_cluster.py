"""``dataflowctl cluster`` as it is called, against a cluster in memory."""

from __future__ import annotations

import yaml

from tests.integration.client.test_cli import Shell, ctl

__all__ = ["ctl"]


def test_status_tells_the_cluster_in_a_few_lines(ctl: Shell) -> None:
    """What is wrong stands out; what is nothing is left out."""
    said = ctl("cluster", "status")
    assert said.out.splitlines() == [
        "dataflow",
        "  nodes:        2",
        "  leader:       a",
        "  shards:       6 serving",
        "  answered by:  a",
        "  revision:     17",
    ]
    assert ctl("cluster", "status", "-o", "json").json["shardsByState"]["moving"] == 0


def test_nodes_are_listed(ctl: Shell) -> None:
    """Who drains is told from who leads."""
    ctl("cluster", "drain", "b", "--reason", "a new disk")
    lines = ctl("cluster", "nodes").out.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["NODE", "SHARDS", "WEIGHT", "STATE"],
        ["a", "3", "1", "leader"],
        ["b", "3", "1", "draining"],
    ]
    assert lines[2].endswith("a new disk")
    assert [node["nodeId"] for node in yaml.safe_load(ctl("cluster", "nodes", "-o", "yaml").out)]


def test_shards_are_listed(ctl: Shell) -> None:
    """A number that is not known is left out, and no -1 is shown."""
    lines = ctl("cluster", "shards").out.splitlines()
    assert lines[2].split() == ["1", "serving", "a", "2", "2026-05-01", "12:00:00Z", "1", "1"]
    assert lines[6].split() == ["5", "serving", "b", "6", "2026-05-01", "12:00:00Z"]
    assert len(ctl("cluster", "shards", "--owner", "b", "-o", "json").json) == 3
    assert "no shards" in ctl("cluster", "shards", "--state", "moving").err


def test_a_shard_on_its_way_tells_where_to(ctl: Shell) -> None:
    """And why."""
    ctl("cluster", "drain", "a")
    assert "to b (drained)" in ctl("cluster", "shards", "--owner", "a").out


def test_a_shard_is_moved_and_let_go(ctl: Shell) -> None:
    """Asked twice, it says that nothing has changed."""
    assert ctl("cluster", "move", "0", "b").out == "shard 0 goes to b and stays there\n"
    assert ctl("cluster", "move", "0", "b").out.endswith("stays there, as it was\n")
    assert ctl("cluster", "shards").out.splitlines()[1].split()[-1] == "b"
    assert ctl("cluster", "unpin", "0", "-o", "json").json["shard"]["pinned"] == ""


def test_a_drain_is_followed_until_the_node_owns_nothing(ctl: Shell) -> None:
    """A script switches the machine off behind it."""
    ctl.cluster.looked = ctl.cluster.hand_over_one
    said = ctl("cluster", "drain", "a", "--wait")
    assert (said.code, said.out) == (0, "a drains: 0 shards to go\n")
    assert said.err.splitlines() == ["a: 2 shards to go", "a: 1 shards to go"]
    assert ctl.cluster.owners == list("bbbbbb")


def test_a_drain_that_is_not_followed_says_what_is_left(ctl: Shell) -> None:
    """It has only begun."""
    assert ctl("cluster", "drain", "a").out == "a drains: 3 shards to go\n"
    assert ctl("cluster", "undrain", "a").out == "a takes shards\n"


def test_a_drain_that_is_undone_meanwhile_is_no_success(ctl: Shell) -> None:
    """The machine must not be switched off."""

    def undo() -> None:
        ctl.cluster.hand_over_one()
        ctl.cluster.nodes["a"].draining = False

    ctl.cluster.looked = undo
    said = ctl("cluster", "drain", "a", "--wait")
    assert said.code == 1
    assert "somebody has undrained it" in said.err


def test_a_node_that_goes_while_it_drains_owns_nothing(ctl: Shell) -> None:
    """Its lease has ended, and with it its last shards."""

    def go() -> None:
        ctl.cluster.owners = list("bbbbbb")
        ctl.cluster.nodes.pop("a", None)

    ctl.cluster.looked = go
    assert ctl("cluster", "drain", "a", "--wait").code == 0


def test_what_is_not_there_is_refused(ctl: Shell) -> None:
    """Exit code 1, and what is wrong on standard error."""
    said = ctl("cluster", "move", "9", "a")
    assert (said.code, said.err) == (1, "error: there is no shard 9 (UNKNOWN_SHARD)\n")
    assert ctl("cluster", "drain", "x").code == 1
    assert ctl("cluster", "move", "first", "a").code == 2
