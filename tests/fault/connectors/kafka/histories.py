"""File -> Kafka -> Kafka -> file, through whose pipelines the program is killed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fault.connectors.lives import Seen, differences
from tests.integration.connectors.kafka.places import messages, new_topic, values
from tests.integration.connectors.kafka.schemas import Unframing

PARTITIONS = 4
BATCH = 20
"""Rows; so small that the file outlasts the deaths."""

KEPT = 2
"""Every how-manieth row the filter between the topics keeps."""


@dataclass
class Chain:
    """Three pipelines, each reading what the one before has written."""

    broker: str
    folder: Path
    rows: int
    registry: str = ""
    """Where the schemas of the topics are, in which rows are Avro then; else they are JSON."""
    lanes: int = 1
    """Of the pipeline between the topics."""
    first: str = ""
    second: str = ""

    def __post_init__(self) -> None:
        self.first = new_topic(self.broker, PARTITIONS)
        self.second = new_topic(self.broker, PARTITIONS)
        lines = (f'{{"id":{number},"name":"row {number}"}}\n' for number in range(self.rows))
        (self.folder / "in.jsonl").write_text("".join(lines))

    def specs(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the pipelines by their ids."""
        options = {"checkpointInterval": "200ms", "backoffInitial": "50ms", "maxAttempts": 1000}
        return {
            "in": {
                "source": _file(self.folder / "in.jsonl"),
                "sink": self._to(self.first),
                "options": options,
            },
            "between": {
                "source": self._from(self.first),
                "transforms": [
                    {"transformType": "filter", "options": {"expression": f"id % {KEPT} == 0"}},
                    {"transformType": "map", "options": {"compute": {"double": "id * 2"}}},
                ],
                "sink": self._to(self.second),
                "options": {**options, "parallelism": self.lanes},
            },
            "out": {
                "source": self._from(self.second),
                "sink": {"sinkType": "file", "connectionString": f"{self.folder}/out.jsonl"},
                "options": options,
            },
        }

    def _from(self, topic: str) -> Mapping[str, Any]:
        read = {"schema": {"id": "int64", "name": "string"}, **self._format(register=False)}
        options = {"topics": [topic], "otherColumns": "drop", **read}
        return {
            "sourceType": "kafka",
            "connectionString": self.broker,
            "options": options,
            "batchSize": BATCH,
        }

    def _to(self, topic: str) -> Mapping[str, Any]:
        options = {"topic": topic, "keyColumn": "id", "idPrefix": f"chain-{self.first}"}
        options |= self._format(register=True)
        return {"sinkType": "kafka", "connectionString": self.broker, "options": options}

    def _format(self, *, register: bool) -> dict[str, Any]:
        if not self.registry:
            return {"format": "json"}
        how = {"register": True} if register else {}
        return {"format": "avro", "registry": {"url": self.registry, **how}}

    def feed(self, url: str) -> None:
        """Do nothing: the file is there from the beginning."""

    def is_done(self, shown: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether everything has come to its end, from what the pipelines show."""
        kept = len(range(0, self.rows, KEPT))
        return int(shown[-1]["metrics"]["totalRecordsProcessed"]) >= kept

    def endless(self) -> Sequence[str]:
        """Name the pipelines that have to be stopped."""
        return ("between", "out")

    def seen(self) -> Sequence[Seen]:
        """Return what independent readers see now."""
        kept = [number for number in range(self.rows) if number % KEPT == 0]
        out = (self.folder / "out.jsonl").read_text().splitlines()
        ends = {
            "file -> Kafka": (self._ids(self.first), range(self.rows)),
            "Kafka -> Kafka": (self._ids(self.second), kept),
            "Kafka -> file": ([json.loads(line)["id"] for line in out], kept),
        }
        return [
            Seen(pair, len(found), differences(found, expected))
            for pair, (found, expected) in ends.items()
        ]

    def _ids(self, topic: str) -> Sequence[int]:
        if not self.registry:
            return [value["id"] for value in values(self.broker, topic)]
        unframing = Unframing(self.registry)
        return [unframing.row(one.value())["id"] for one in messages(self.broker, topic)]


def _file(path: Path) -> Mapping[str, Any]:
    return {"sourceType": "file", "connectionString": str(path), "options": {}, "batchSize": BATCH}
