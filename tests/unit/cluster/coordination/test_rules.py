"""What no coordination service is asked to do."""

from __future__ import annotations

from dataflow.cluster.coordination import rules
from dataflow.cluster.coordination.contract import Put, Revision, Unchanged


def test_one_key_may_have_several_conditions() -> None:
    """Only its effects must not contradict one another."""
    conditions = [Unchanged("a", Revision(1)), Unchanged("a", Revision(2))]
    rules.check_transaction(conditions, [Put("a", b""), Put("b", b"")])


def test_a_watch_that_begins_too_early_or_too_late_is_told_which() -> None:
    """Whoever reads the log learns whether a backup was restored."""
    assert "forgotten" in str(rules.compacted(Revision(1), Revision(5)))
    assert "to come" in str(rules.compacted(Revision(5), Revision(1)))
