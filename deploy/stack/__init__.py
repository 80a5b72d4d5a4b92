"""The real servers on this machine, without Docker: shared ones, and private ones to break."""

from deploy.stack.cassandra import Cassandra
from deploy.stack.errors import Missing, NotReady, PortTaken
from deploy.stack.etcd import Etcd
from deploy.stack.kafka import Kafka
from deploy.stack.machine import shared
from deploy.stack.postgres import Postgres
from deploy.stack.registry import Registry
from deploy.stack.s3 import S3

__all__ = [
    "S3",
    "Cassandra",
    "Etcd",
    "Kafka",
    "Missing",
    "NotReady",
    "PortTaken",
    "Postgres",
    "Registry",
    "shared",
]
