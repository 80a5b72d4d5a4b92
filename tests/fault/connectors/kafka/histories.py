"""Lives of the program over file -> Kafka -> Kafka -> file, each ended by ``kill -9``.

``python -m tests.fault.connectors.kafka.histories --kills 100 --rows 1000000`` runs a long one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.stack import shared
from deploy.stack.kafka import Kafka
from tests.fault.connectors.lives import live
from tests.integration.connectors.kafka.places import new_topic, values

PARTITIONS = 4
KEPT = 2
"""Every how-manieth row the filter between the topics keeps."""


@dataclass
class Chain:
    """Three pipelines, each reading what the one before has written."""

    broker: str
    folder: Path
    rows: int
    first: str = ""
    second: str = ""
    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.first = new_topic(self.broker, PARTITIONS)
        self.second = new_topic(self.broker, PARTITIONS)
        lines = (f'{{"id":{number},"name":"row {number}"}}\n' for number in range(self.rows))
        (self.folder / "in.jsonl").write_text("".join(lines))

    def specs(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the pipelines by their ids."""
        read = {"format": "json", "schema": {"id": "int64", "name": "string"}}
        options = {"checkpointInterval": "200ms", "backoffInitial": "50ms", "maxAttempts": 1000}
        return {
            "in": {
                "source": _file(self.folder / "in.jsonl"),
                "sink": self._to(self.first),
                "options": options,
            },
            "between": {
                "source": self._from(self.first, read),
                "transforms": [
                    {"transformType": "filter", "options": {"expression": f"id % {KEPT} == 0"}},
                    {"transformType": "map", "options": {"compute": {"double": "id * 2"}}},
                ],
                "sink": self._to(self.second),
                "options": options,
            },
            "out": {
                "source": self._from(self.second, read),
                "sink": {"sinkType": "file", "connectionString": f"{self.folder}/out.jsonl"},
                "options": options,
            },
        }

    def _from(self, topic: str, read: Mapping[str, Any]) -> Mapping[str, Any]:
        options = {"topics": [topic], "otherColumns": "drop", **read}
        return {"sourceType": "kafka", "connectionString": self.broker, "options": options}

    def _to(self, topic: str) -> Mapping[str, Any]:
        options = {"topic": topic, "keyColumn": "id", "idPrefix": f"chain-{self.first}"}
        return {"sinkType": "kafka", "connectionString": self.broker, "options": options}

    def is_done(self, shown: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether everything has come to its end, from what the pipelines show."""
        kept = len(range(0, self.rows, KEPT))
        return int(shown[-1]["metrics"]["totalRecordsProcessed"]) >= kept

    def endless(self) -> Sequence[str]:
        """Name the pipelines that have to be stopped."""
        return ("between", "out")

    def problems(self) -> Sequence[str]:
        """Return what is wrong with what independent readers see now."""
        kept = [number for number in range(self.rows) if number % KEPT == 0]
        out = (self.folder / "out.jsonl").read_text().splitlines()
        seen = {
            "first topic": ([v["id"] for v in values(self.broker, self.first)], range(self.rows)),
            "second topic": ([v["id"] for v in values(self.broker, self.second)], kept),
            "file": ([json.loads(line)["id"] for line in out], kept),
        }
        return [
            problem
            for place, (found, expected) in seen.items()
            for problem in _differences(place, found, expected)
        ]


def _file(path: Path) -> Mapping[str, Any]:
    return {"sourceType": "file", "connectionString": str(path), "options": {}}


def _differences(place: str, found: Sequence[int], expected: Sequence[int]) -> Sequence[str]:
    counted = Counter(found)
    lost = [number for number in expected if number not in counted]
    twice = [number for number, count in counted.items() if count > 1]
    strange = counted.keys() - set(expected)
    return [
        f"{place}: {len(numbers)} {what}, {sorted(numbers)[:3]}"
        for what, numbers in (("lost", lost), ("twice", twice), ("made up", strange))
        if numbers
    ]


def main() -> None:
    """Run one history, and say what came of it."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--broker-every", type=int, default=0, help="kill the broker, too")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.broker_every:
            with Kafka(Path(folder) / "kafka") as kafka:

                def disturb(life: int) -> None:
                    if life % given.broker_every == 0:
                        kafka.kill()
                        kafka.start()

                chain = Chain(kafka.address, Path(folder), given.rows)
                problems = live(chain, given.seed, given.kills, disturb)
        else:
            chain = Chain(shared("kafka"), Path(folder), given.rows)
            problems = live(chain, given.seed, given.kills, lambda _: None)
    sys.stdout.write("\n".join(problems) or "0 lost, 0 twice\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
