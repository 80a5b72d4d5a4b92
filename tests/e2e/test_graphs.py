"""Graphs as people write them: two sources, a route, a join, sums, two files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.programs import Api
from tests.e2e.specs import sink, source, written


def graph(folder: Path) -> dict[str, Any]:
    """Return orders, large ones with the name of their country, small ones added up."""
    (folder / "orders.csv").write_text("id,country,amount\n1,DE,5\n2,FR,50\n3,DE,7\n4,US,70\n")
    (folder / "countries.csv").write_text("code,name\nDE,Germany\nFR,France\n")
    big = {"routes": [{"name": "big", "when": "amount >= 10"}], "default": "small"}
    keys = {"type": "left", "leftKeys": ["country"], "rightKeys": ["code"]}
    sums = {"groupBy": ["country"], "aggregates": {"n": "count()", "total": "sum(amount)"}}
    types = {"id": "int64", "country": "string", "amount": "int64"}
    names = {"code": "string", "name": "string"}
    return {
        "name": "Orders",
        "sources": {
            "orders": source(folder / "orders.csv", schema=types, otherColumns="drop"),
            "countries": source(folder / "countries.csv", schema=names, otherColumns="drop"),
        },
        "transforms": [
            {"id": "sized", "transformType": "route", "inputs": ["orders"], "options": big},
            {
                "id": "named",
                "transformType": "join",
                "inputs": ["sized.big", "countries"],
                "options": keys,
            },
            {
                "id": "sums",
                "transformType": "aggregate",
                "inputs": ["sized.small"],
                "options": sums,
            },
        ],
        "sinks": {
            "large": sink(folder / "large.csv") | {"input": "named"},
            "added": sink(folder / "added.csv") | {"input": "sums"},
        },
        "options": {},
    }


def test_a_graph_runs_to_its_end_in_every_sink(http: Api, folder: Path) -> None:
    """And says of each sink what became of every record."""
    pipeline = http.run(graph(folder))
    assert sorted(written(folder / "large.csv")) == [
        ["2", "FR", "50", "FR", "France"],
        ["4", "US", "70", "", ""],
    ]
    assert written(folder / "added.csv") == [["DE", "2", "12"]]
    sinks = http.get(f"/pipelines/{pipeline}/metrics")["sinks"]
    assert sinks["added"]["ledger"]["recordsAbsorbed"] == 2
    assert sinks["large"]["ledger"]["recordsWritten"] == 2


def test_the_columns_of_every_step_are_told_before_it_runs(http: Api, folder: Path) -> None:
    """An unknown column is an error of the step that names it, and not of a run."""
    spec = graph(folder)
    valid = http.post("/pipelines:validate", spec)
    columns = {o["step"]: [c["name"] for c in o["columns"]] for o in valid["outputs"]}
    assert columns["sized.big"] == ["id", "country", "amount"]
    assert columns["sums"] == ["country", "n", "total"]
    spec["transforms"][2]["options"]["groupBy"] = ["county"]
    wrong = http.post("/pipelines:validate", spec)
    (problem,) = wrong["problems"]
    assert problem["field"].startswith("transforms[2].options.groupBy")


def test_a_schedule_is_kept_as_it_was_written(http: Api, folder: Path) -> None:
    """And one that names no moment is refused by its path."""
    spec = graph(folder)
    schedule = {"cron": "0 6 * * 1-5", "timeZone": "Europe/Berlin", "missed": "once"}
    spec["sources"]["countries"]["schedule"] = schedule
    made = http.post("/pipelines", spec, 201)
    shown = http.get(f"/pipelines/{made['pipelineId']}")
    assert shown["sources"]["countries"]["schedule"] == schedule
    spec["sources"]["countries"]["schedule"] = schedule | {"cron": "0 25 * * *"}
    told = http.post("/pipelines", spec, 400)
    assert [d["field"] for d in told["details"]] == ["sources.countries.schedule.cron"]
