"""Connectors that installed packages bring along, found by their entry points."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from tests.e2e.packages import installed
from tests.e2e.programs import api, serving
from tests.e2e.specs import line, sink, where, written

MANUAL = Path(__file__).parents[2] / "dataflow" / "README.md"


def example() -> dict[str, str]:
    """Return the modules of the connector that the manual shows, by their names."""
    found = re.findall(r"```python\n# countdown/(\S+)\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    return dict(found)


def test_the_connector_of_the_manual_runs_as_it_stands(folder: Path) -> None:
    """An author copies it first; it is found without a line of the platform being changed."""
    begin = {"sourceType": "countdown", "batchSize": 2, "options": {"start": 5}}
    spec = line(begin, sink(folder / "out.csv"), where("n <> 3"))
    found = installed(folder / "site", "countdown", example(), {"countdown": "countdown.spec:SPEC"})
    with serving(folder, found) as server, api(server) as http:
        http.run(spec)
        wrong = http.post("/pipelines", line({**begin, "options": {"start": 0}}, spec["sink"]), 400)
        described = httpx.get(f"{server.url}/openapi.json").text
    assert written(folder / "out.csv") == [["5"], ["4"], ["2"], ["1"]]
    assert [problem["field"] for problem in wrong["details"]] == ["source.options.start"]
    assert "The first number." in described
