"""Ingest logs in Kafka, where every node of a cluster reaches them.

A pipeline has a topic of two partitions, both written by one transaction a group of batches:

    rows    the batches, as frames, in the order in which they were acknowledged
    index   what each group held: batch ids, digests, offsets; now and then the whole window

Records are numbered as they are in files: a position is the same number whoever keeps the log. Who
opens a log to write takes its transactional id, which ends what its last writer had begun; only
then is the index read. So no writer is behind one whose batches it has not seen.
"""

from dataflow.engine.ingest.kafka.brokers import Brokers
from dataflow.engine.ingest.kafka.log import KafkaLog
from dataflow.engine.ingest.kafka.logs import KafkaLogs

__all__ = ["Brokers", "KafkaLog", "KafkaLogs"]
