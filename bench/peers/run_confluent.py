"""The work as a loop over Kafka's Python client and the fastest JSON parser, exactly once.

``python -m bench.peers.run_confluent BROKERS SOURCE TARGET RECORDS``: what a careful script does.
"""

from __future__ import annotations

import sys
import time

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.peers.timing import measured

RECORDS_AT_ONCE = 10_000
COMMIT_S = 1.0
ANSWER_S = 30.0


def work(brokers: str, source: str, target: str, records: int) -> None:
    """Keep every second record, compute a field, and commit rows with offsets each second."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": f"loop-{target}",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 5,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "transactional.id": f"loop-{target}",
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    partitions = consumer.list_topics(source, ANSWER_S).topics[source].partitions
    consumer.assign([TopicPartition(source, number, 0) for number in partitions])
    producer.init_transactions(ANSWER_S)
    producer.begin_transaction()
    seen, due = 0, time.monotonic() + COMMIT_S
    while seen < records:
        given = []
        for message in consumer.consume(RECORDS_AT_ONCE, 0.1):
            row = orjson.loads(message.value() or b"{}")
            seen += 1
            if row["id"] % 2 == 0:
                row["total"] = row["price"] * row["quantity"]
                given.append({"value": orjson.dumps(row)})
        while given:
            producer.produce_batch(target, given)
            given = [{"value": one["value"]} for one in given if "_error" in one]
            producer.poll(0.1 if given else 0)
        if time.monotonic() > due or seen >= records:
            metadata = consumer.consumer_group_metadata()
            offsets = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(offsets, metadata, ANSWER_S)
            producer.commit_transaction(ANSWER_S)
            producer.begin_transaction()
            due = time.monotonic() + COMMIT_S
    consumer.close()


if __name__ == "__main__":
    asked = sys.argv[1:]
    measured(lambda: work(asked[0], asked[1], asked[2], int(asked[3])))
