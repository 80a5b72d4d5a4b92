"""A topic and pushed batches -> tables, through whose pipelines the program is killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import orjson
from confluent_kafka import Producer

from tests.databases import Database
from tests.fault.connectors.lives import Seen, differences
from tests.integration.connectors.kafka.places import ANSWER_S, messages, new_topic

PARTITIONS = 4
SENDERS = 3
BATCH_ROWS = 50
READ_ROWS = 200
"""So few that what comes at once is not written at once."""

AGAIN_S = 0.05
TRY_AGAIN = frozenset({429, 503, 504})
OPTIONS = {"checkpointInterval": "200ms", "backoffInitial": "50ms", "maxAttempts": 1000}


@dataclass
class Senders:
    """Push some batches in each life; each is pushed under its id until it is acknowledged."""

    batches: int
    """In each life, those at most."""
    url: str = ""
    acknowledged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._due = threading.Semaphore(0)

    def go_on(self, url: str) -> None:
        """Push more, to a program at ``url``."""
        self.url = url
        self._due.release(self.batches)
        if not self.threads:
            self.threads += [
                threading.Thread(target=self._send, args=[sender], daemon=True)
                for sender in range(SENDERS)
            ]
            for thread in self.threads:
                thread.start()

    def _send(self, sender: int) -> None:
        number = 0
        with httpx.Client(trust_env=False, timeout=ANSWER_S) as client:
            while not self.over.is_set():
                if not self._due.acquire(timeout=AGAIN_S):
                    continue
                batch, number = f"{sender}-{number}", number + 1
                if not self._acknowledged(client, batch):
                    return
                self.acknowledged.append(batch)

    def _acknowledged(self, client: httpx.Client, batch: str) -> bool:
        """Push a batch until somebody answers for good."""
        records = [{"batch": batch, "n": n} for n in range(BATCH_ROWS)]
        body = {"batchId": batch, "records": records}
        while True:
            try:
                answer = client.post(f"{self.url}/api/v1/pipelines/push/batches", json=body)
            except httpx.TransportError:
                time.sleep(AGAIN_S)
                continue
            if answer.is_success:
                return True
            if answer.status_code not in TRY_AGAIN:
                self.refused.append(f"{batch}: {answer.status_code} {answer.text}")
                return False
            time.sleep(AGAIN_S)

    @property
    def have_ended(self) -> bool:
        """Tell whether nothing is under way."""
        return not any(thread.is_alive() for thread in self.threads)


@dataclass
class Tables:
    """Two tables that take a row as often as it comes: of a topic's records, and of pushed rows."""

    broker: str
    database: Database
    folder: Path
    records: int
    """In the topic, new in each life."""
    senders: Senders
    lanes: int = 1
    """Of the pipeline that reads the topic."""
    topic: str = ""
    sent: int = 0

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let nobody push any more."""
        self.senders.over.set()

    def __post_init__(self) -> None:
        self.topic = new_topic(self.broker, PARTITIONS)
        self.database.execute(
            "CREATE TABLE records (id bigint, name text, part int, place bigint);"
            "CREATE TABLE pushed (batch text, n bigint)"
        )
        self.database.forget()

    def specs(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the pipelines by their ids."""
        read = {
            "topics": [self.topic],
            "schema": {"id": "int64", "name": "string"},
            "otherColumns": "drop",
            "partitionColumn": "part",
            "offsetColumn": "place",
        }
        return {
            "records": self._into(
                "records",
                {"sourceType": "kafka", "connectionString": self.broker, "options": read},
                self.lanes,
            ),
            "push": self._into(
                "pushed",
                {
                    "sourceType": "push",
                    "options": {"schema": {"batch": "string", "n": "int64"}},
                },
            ),
        }

    def _into(self, table: str, source: Mapping[str, Any], lanes: int = 1) -> Mapping[str, Any]:
        url = self.database.url
        sink = {"sinkType": "postgres", "connectionString": url, "options": {"table": table}}
        source = {**source, "batchSize": READ_ROWS}
        return {"source": source, "sink": sink, "options": {**OPTIONS, "parallelism": lanes}}

    def feed(self, url: str) -> None:
        """Have more in the topic, of which every other transaction is aborted, and push on."""
        self.senders.go_on(url)
        settings = {"bootstrap.servers": self.broker, "transactional.id": f"{self.topic}-made"}
        producer = Producer({**settings, "linger.ms": 5})
        producer.init_transactions(ANSWER_S)
        for end in (producer.abort_transaction, producer.commit_transaction):
            producer.begin_transaction()
            for number in range(self.sent, self.sent + self.records):
                producer.produce(self.topic, b'{"id":%d,"name":"row %d"}' % (number, number))
                producer.poll(0)
            producer.flush(ANSWER_S)
            end(ANSWER_S)
        self.sent += self.records

    def is_done(self, shown: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether everything has come to its end."""
        self.senders.over.set()
        if not self.senders.have_ended:
            return False
        counted = "SELECT (SELECT count(*) FROM records), count(*) FROM pushed"
        pushed = len(self.senders.acknowledged) * BATCH_ROWS
        (records, rows) = self.database.fetch(counted)[0]
        return bool(records >= self.sent and rows >= pushed)

    def endless(self) -> Sequence[str]:
        """Name the pipelines that have to be stopped."""
        return [*self.specs()]

    def seen(self) -> Sequence[Seen]:
        """Return what independent readers see now: of records, at which offset each is."""
        records = self.database.witnessed("SELECT part, place, name FROM records")
        read = [
            (one.partition(), one.offset(), f"row {orjson.loads(one.value() or b'')['id']}")
            for one in messages(self.broker, self.topic)
        ]
        pushed = self.database.witnessed("SELECT batch, n FROM pushed")
        acknowledged = self.senders.acknowledged
        wanted = [(batch, n) for batch in acknowledged for n in range(BATCH_ROWS)]
        lacking = [] if len(read) == self.sent else [f"{len(read)} of {self.sent} in the topic"]
        return [
            Seen("Kafka -> PostgreSQL", len(records), [*lacking, *differences(records, read)]),
            Seen(
                "push -> PostgreSQL",
                len(pushed),
                [*self.senders.refused, *differences(pushed, wanted)],
            ),
        ]
