"""``aggregate`` by windows of event time: which rows are in one, when it closes, what is late."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Via
from dataflow.connect.transform import MAIN
from dataflow.transforms.aggregate import operator
from dataflow.transforms.aggregate.options import LATE
from dataflow.transforms.aggregate.spec import SPEC
from tests.unit.transforms.aggregating import Life, at, seconds_of, times
from tests.unit.transforms.rig import batch, problems, schema

Window = tuple[float, float, list[int]]

TUMBLING = {"type": "tumbling", "size": "10s", "timeColumn": "t"}
SLIDING = {"type": "sliding", "size": "10s", "slide": "5s", "timeColumn": "t"}
SESSION = {"type": "session", "gap": "10s", "timeColumn": "t"}


def step(window: Mapping[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any option
    """Return options that collect what is in each window."""
    window = {**window, **{name: more.pop(name) for name in list(more) if name in _OF_WINDOW}}
    return {"aggregates": {"all": "collect(a)"}, "window": window, **more}


_OF_WINDOW = {"outOfOrder", "allowedLateness", "idleTimeout", "maxFuture", "maxJump"}


def seen(rows: list[dict[str, Any]]) -> list[Window]:
    """Return windows by their bounds, with what is in them."""
    return [
        (seconds_of(row["windowStart"]), seconds_of(row["windowEnd"]), row["all"]) for row in rows
    ]


def rows(*seconds: float | None) -> pa.RecordBatch:
    """Return rows that hold their own time."""
    return batch(t=times(*seconds), a=[None if each is None else int(each) for each in seconds])


def test_a_tumbling_window_closes_when_event_time_has_reached_its_end() -> None:
    """Its end is not part of it."""
    life = Life(step(TUMBLING))
    assert seen(life.take(rows(1, 9.9))) == []
    assert seen(life.take(rows(9.999999))) == []
    assert seen(life.take(rows(10))) == [(0, 10, [1, 9, 9])]
    assert seen(life.end()) == [(10, 20, [10])]


def test_windows_begin_at_multiples_of_their_size_before_1970_too() -> None:
    """Whole hours and days, in UTC."""
    moments = pa.array([-1, 0], pa.timestamp("s"))
    life = Life(step(TUMBLING))
    life.take(batch(t=moments, a=[1, 2]))
    life.end()
    assert [row["windowStart"].second for row in life.rows()] == [50, 0]


def test_a_row_is_in_every_sliding_window_that_spans_it() -> None:
    """Each closes in its turn, also those that a jump of time passes all at once."""
    life = Life(step(SLIDING))
    assert seen(life.take(rows(1, 7))) == [(-5, 5, [1])]
    assert seen(life.take(rows(31))) == [(0, 10, [1, 7]), (5, 15, [7])]
    assert seen(life.end()) == [(25, 35, [31]), (30, 40, [31])]


def test_the_first_row_of_a_sliding_window_is_the_first_that_came() -> None:
    """Panes are put together in the order of time, and their rows may have come in another."""
    options = step(SLIDING) | {"aggregates": {"f": "first(a)", "l": "last(a)"}}
    life = Life(options)
    life.take(rows(7, 1, 9, 2))
    life.end()
    assert [(row["f"], row["l"]) for row in life.rows()] == [(1, 2), (7, 2), (7, 9)]


def test_the_first_row_is_the_first_that_came_in_large_windows_too() -> None:
    """Groups of many keys are in no order, as the engine that groups them works in parallel."""
    options = step(SLIDING) | {"groupBy": ["k"], "aggregates": {"f": "first(a)", "l": "last(a)"}}
    keys = list(range(20_000))
    life = Life(options)
    for second in (7, 2):
        moments = pa.array([at(second)] * len(keys), pa.timestamp("us"))
        life.take(batch(t=moments, k=keys, a=[second] * len(keys)))
    life.end()
    found = {(row["f"], row["l"]) for row in life.rows() if row["windowStart"] == at(0)}
    assert found == {(7, 2)}


def test_a_session_lasts_until_a_gap_has_passed() -> None:
    """By group; a row exactly a gap later begins another one."""
    life = Life({**step(SESSION), "groupBy": ["k"]})
    life.take(batch(t=times(0, 9, 18.5, 5), a=[0, 9, 18, 5], k=["x", "x", "x", "y"]))
    life.take(batch(t=times(28.5), a=[28], k=["x"]))
    assert seen(life.rows()) == [(5, 15, [5]), (0, 28.5, [0, 9, 18])]
    assert seen(life.end()) == [(28.5, 38.5, [28])]


def test_sessions_of_a_large_state_are_looked_for_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight times a gap, for it takes a look at all of them; and once event time stands still."""
    monkeypatch.setattr(operator, "LOOK_BYTES", 0)
    life = Life({**step(SESSION), "groupBy": ["k"]})
    life.take(batch(t=times(0, 9.5), a=[0, 9], k=["x", "y"]))
    life.take(batch(t=times(10.5), a=[10], k=["y"]))
    assert life.rows() == []
    assert life.tick() == []
    assert seen(life.tick()) == [(0, 10, [0])]


def test_rows_between_two_sessions_join_them() -> None:
    """Whichever batch they come in: nothing is fixed before event time has passed."""
    life = Life(step(SESSION, outOfOrder="1m"))
    life.take(rows(0))
    life.take(rows(15))
    life.step.changes(whole=False)
    life.take(rows(8))
    ((start, end, found),) = seen(life.end())
    assert (start, end, sorted(found)) == (0, 25, [0, 8, 15])


def test_a_sketch_of_a_session_is_of_all_its_rows() -> None:
    """Equal values far apart are in one session by the rows between them."""
    options = step(SESSION) | {"aggregates": {"d": "approx_distinct(a % 2)", "n": "count()"}}
    life = Life(options)
    for second in (0, 9, 18):
        life.take(rows(second))
        life.step.changes(whole=False)
    assert [(row["d"], row["n"]) for row in life.end()] == [(2, 3)]


def test_event_time_waits_for_the_split_that_is_behind() -> None:
    """Partitions are read at their own pace; one that has not begun holds all of them."""
    life = Life(step(TUMBLING), splits=("p", "q"))
    assert life.take(rows(1, 50), "p") == []
    assert life.take(rows(5), "q") == []
    assert seen(life.take(rows(12), "q")) == [(0, 10, [1, 5])]


def test_a_split_that_has_ended_holds_nothing_up() -> None:
    """Files end one after the other."""
    life = Life(step(TUMBLING), splits=("p", "q"))
    life.take(rows(30), "q")
    life.take(rows(3), "p")
    ended = life.step.split_ended(Via("in", "p"))
    assert seen(ended.batches[MAIN].to_pylist()) == [(0, 10, [3])]


def test_an_idle_split_is_left_out_until_its_next_row() -> None:
    """A partition without records must not stop the results of the others."""
    life = Life(step(TUMBLING, idleTimeout="30s"), splits=("p", "q"), idles=True)
    life.take(rows(1, 12), "p")
    assert life.tick(29) == []
    life.take(rows(13), "p")
    assert seen(life.tick(1)) == [(0, 10, [1])]
    life.take(rows(15), "q")
    assert life.take(rows(40), "p") == []
    assert seen(life.take(rows(20), "q"))[0][:2] == (10, 20)


def test_a_split_that_only_waits_for_its_turn_is_never_idle() -> None:
    """A file that is read after others has its rows, however long they take."""
    life = Life(step(TUMBLING, idleTimeout="1s"), splits=("p", "q"))
    life.take(rows(1, 12), "p")
    assert life.tick(1_000_000) == []


def test_without_a_timeout_a_split_never_idles() -> None:
    """For those who would rather wait than lose a row."""
    life = Life(step(TUMBLING, idleTimeout=None), splits=("p", "q"), idles=True)
    life.take(rows(1, 12), "p")
    assert not life.step.ticks
    assert life.tick(1_000_000) == []


def test_the_time_of_day_may_jump() -> None:
    """Idle splits go by a clock that does not, and windows by the rows alone."""
    life = Life(step(TUMBLING, idleTimeout="30s"), splits=("p", "q"), idles=True)
    life.take(rows(1, 12), "p")
    life.clock.today += timedelta(days=400)
    assert life.tick(1) == []
    life.clock.today -= timedelta(days=800)
    assert life.tick(1) == []


def test_when_every_split_idles_the_latest_row_counts() -> None:
    """Otherwise the order in which they fell silent would."""
    life = Life(step(TUMBLING, idleTimeout="30s"), splits=("p", "q"), idles=True)
    life.take(rows(1), "p")
    life.take(rows(12), "q")
    assert seen(life.tick(30)) == [(0, 10, [1])]


@pytest.mark.parametrize("option", ["outOfOrder", "allowedLateness"])
def test_rows_may_come_out_of_order_by_as_much_as_is_allowed(option: str) -> None:
    """Its windows wait so long."""
    life = Life(step(TUMBLING, **{option: "5s"}))
    assert life.take(rows(1, 14)) == []
    assert seen(life.take(rows(2, 15))) == [(0, 10, [1, 2])]


@pytest.mark.parametrize(
    ("window", "late"), [(TUMBLING, [9, 12, 19]), (SLIDING, [9, 12]), (SESSION, [9, 12, 19])]
)
def test_late_rows_go_out_beside_the_results(window: Mapping[str, Any], late: list[int]) -> None:
    """Every window that they would be in has closed; of a session, event time has passed them."""
    life = Life(step(window))
    life.take(rows(1))
    life.take(rows(20))
    life.take(rows(9, 12, 19, 20))
    life.end()
    assert [row["a"] for row in life.rows(LATE)] == late
    assert life.table(LATE).schema.names == ["t", "a", "__ordinal"]
    counted = [each for row in life.rows() for each in row["all"]]
    assert sorted({*counted, *late}) == [1, 9, 12, 19, 20]
    assert not {*counted} & {*late}


def test_a_row_without_a_time_is_refused() -> None:
    """It is in no window; so is one in a year that nobody can write."""
    life = Life(step(TUMBLING))
    life.take(rows(None, 1))
    assert "is NULL" in life.reasons()[0]
    assert [row["all"] for row in life.end()] == [[1]]


def test_a_row_in_a_year_that_nobody_can_write_is_refused() -> None:
    """Its window could not be shown, and might not even be computed."""
    life = Life(step(TUMBLING))
    moments = pa.array([2**61, -(2**61), 1], pa.timestamp("s"))
    output = life.step.apply(batch(t=moments, a=[1, 2, 3]), Via("in", "s"))
    assert output.rejected is not None
    assert output.rejected["a"].to_pylist() == [1, 2]
    assert [row["all"] for row in life.end()] == [[3]]


def test_a_row_from_the_future_is_refused_and_closes_nothing() -> None:
    """One wrong clock would make all rows of the others late."""
    life = Life(step(TUMBLING, maxFuture="1h"))
    life.clock.today = at(0).replace(tzinfo=UTC)
    assert life.take(rows(1, 3_601, 2)) == []
    assert "maxFuture" in life.reasons()[1]
    assert "2013-01-01 01:00:01" in life.reasons()[1]
    life.clock.today += timedelta(seconds=1)
    assert seen(life.take(rows(3_601))) == [(0, 10, [1, 2])]


def test_a_row_that_jumps_ahead_of_its_split_is_refused_where_that_is_asked_for() -> None:
    """In a history the time of day tells nothing; rows that go on step by step do."""
    life = Life(step(TUMBLING, maxJump="1m"))
    life.take(rows(0, 50, 200, 100, 261, 3))
    assert list(life.reasons()) == [2, 4]
    life.take(rows(161))
    assert list(life.reasons()) == [2, 4, 0]
    life.take(rows(160))
    assert list(life.reasons()) == [2, 4, 0]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0, 1_356_998_405], pa.timestamp("s", "UTC")),
        pa.array([0, 1_356_998_405_000], pa.timestamp("ms", "America/New_York")),
        pa.array([0, 1_356_998_405_000_000_000], pa.timestamp("ns")),
        pa.array([0, 15_706], pa.date32()),
    ],
    ids=str,
)
def test_moments_may_have_any_unit_and_zone(column: pa.Array[Any]) -> None:
    """Bounds have the zone of the column, and microseconds."""
    options = step(TUMBLING)
    life = Life(options)
    life.take(batch(t=column[1:], a=[1]))
    life.end()
    (row,) = life.rows()
    start = row["windowStart"]
    assert start.replace(tzinfo=start.tzinfo or UTC) == datetime(2013, 1, 1, tzinfo=UTC)
    zone = getattr(column.type, "tz", None)
    assert life.table().schema.field("windowEnd").type == pa.timestamp("us", zone)


def test_the_columns_of_bounds_are_named_as_is_asked_for() -> None:
    """They stand behind the keys."""
    options = step({**TUMBLING, "startColumn": "from", "endColumn": "to"}) | {"groupBy": ["a"]}
    columns = {"t": "timestamp(ms, 'UTC')", "a": "int64"}
    assert schema(SPEC, options, columns) == {
        "a": "int64",
        "from": "timestamp(us, 'UTC')",
        "to": "timestamp(us, 'UTC')",
        "all": "list<int64>",
    }
    life = Life(options)
    life.take(rows(1))
    assert list(life.end()[0]) == ["a", "from", "to", "all"]


@pytest.mark.parametrize("window", [TUMBLING, SLIDING, SESSION])
def test_closed_windows_stay_closed_after_a_crash(window: Mapping[str, Any]) -> None:
    """Results that went out with a checkpoint go out once, and their late rows are late."""
    options = step(window) | {"groupBy": ["k"]}
    life = Life(options)
    parts = []
    found = []
    for second in (1, 4, 13, 8, 30, 31, 19, 48):
        found += life.take(batch(t=times(second), a=[second], k=[second % 2]))
        parts.append(life.step.changes(whole=False))
        again = Life(options, parts=[part for part in parts if part is not None])
        copied = again.take(batch(t=times(60, 2), a=[60, 2], k=[0, 0]))
        other = Life(options, parts=[life.step.changes(whole=True) or b""])
        assert other.take(batch(t=times(60, 2), a=[60, 2], k=[0, 0])) == copied
        assert other.rows(LATE) == again.rows(LATE)
        windows = seen(found + copied)
        assert len(windows) == len({(start, key[0] % 2) for start, _, key in windows})
        parts = [life.step.changes(whole=True)]


def test_early_results_of_open_windows_come_with_the_clock() -> None:
    """Only windows that have changed, and each once more when it closes."""
    options = step(SLIDING, emit="early", earlyInterval="1s")
    life = Life(options)
    life.take(rows(7))
    first = life.tick()
    assert [(*each, row["windowFinal"]) for each, row in zip(seen(first), first, strict=True)] == [
        (0, 10, [7], False),
        (5, 15, [7], False),
    ]
    life.take(rows(12))
    assert [each[:2] for each in seen(life.tick())] == [(5, 15), (10, 20)]
    assert [row["windowFinal"] for row in life.end()] == [True, True]


def test_a_session_that_has_grown_is_shown_early_as_it_stands() -> None:
    """Its bounds may move until it closes."""
    options = step(SESSION, emit="early", earlyInterval="1s", outOfOrder="1m")
    life = Life(options)
    life.take(rows(20))
    assert seen(life.tick()) == [(20, 30, [20])]
    life.take(rows(12))
    assert [each[:2] for each in seen(life.tick())] == [(12, 30)]
    assert life.tick() == []


@pytest.mark.parametrize(
    ("window", "path", "message"),
    [
        ({"type": "tumbling"}, "size", "a tumbling window needs it"),
        ({"type": "tumbling", "size": "1h", "gap": "1h"}, "gap", "a tumbling window has none"),
        ({"type": "sliding", "size": "1h"}, "slide", "a sliding window needs it"),
        ({"type": "sliding", "size": "1h", "slide": "7m"}, "slide", "multiple"),
        ({"type": "sliding", "size": "1m", "slide": "1h"}, "slide", "multiple"),
        ({"type": "sliding", "size": "1d", "slide": "1s"}, "slide", "10,000 windows"),
        ({"type": "session", "gap": "1h", "size": "1h"}, "size", "a session window has none"),
        ({"type": "session", "gap": "1h", "timeColumn": "u"}, "timeColumn", "unknown column 'u'"),
        (
            {"type": "session", "gap": "1h", "timeColumn": "a"},
            "timeColumn",
            "a' is int64; give",
        ),
        ({"type": "session", "gap": "1h", "startColumn": "x"}, "endColumn", "another column"),
    ],
)
def test_windows_that_make_no_sense_are_told_by_their_path(
    window: Mapping[str, Any], path: str, message: str
) -> None:
    """When the pipeline is created."""
    given = {"timeColumn": "t", **window}
    if path == "endColumn":
        given["endColumn"] = "x"
    options = {"aggregates": {"n": "count()"}, "window": given}
    ((field, told),) = problems(SPEC, options, {"t": "timestamp", "a": "int64"})
    assert field == f"options.window.{path}"
    assert message in told
