"""What an operator can set: a TOML file, and ``DATAFLOW_…`` variables that win over it."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from dataflow.core.errors import Invalid, Problem, Rejected

PREFIX = "DATAFLOW_"


LISTS: Mapping[str, str] = {
    "file_roots": os.pathsep,
    "etcd_endpoints": ",",
    "cassandra_contact_points": ",",
    "kafka_brokers": ",",
}
"""What separates the entries of a variable that holds several."""


class Settings(BaseModel):
    """All settings of every program; a misspelt one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    http_address: str = Field(default="127.0.0.1:8080", pattern=r"^.+:\d+$")
    grpc_address: str = Field(default="127.0.0.1:50051", pattern=r"^.+:\d+$")
    data_dir: Path = Path("data")
    log_format: Literal["console", "json"] = "console"
    file_roots: tuple[Path, ...] = ()
    """Folders in which file connectors may read and write; none named is no restriction."""
    python: Literal["", "allowed", "refused"] = ""
    """Whether ``python`` steps run: whoever may start a pipeline then runs programs here."""
    insecure_bind: bool = False
    """Serve an address that other machines reach, without TLS."""
    workers: int = Field(default=0, ge=0, le=256)
    """Processes beside this one that do the work on rows; 0 does it in this one."""
    stop_grace_s: float = Field(default=20.0, ge=0, le=600)
    """How long SIGTERM lets the last checkpoints take."""
    cluster: str = Field(default="dataflow", pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$")
    """The name of the cluster; several may share the same servers."""
    node_id: str = Field(default="", pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$|^$")
    """Of this node, unique in its cluster and the same after a restart; the host's name unless
    given."""
    node_address: str = Field(default="127.0.0.1:50061", pattern=r"^.+:\d+$")
    """Where the other nodes and the gateways of the cluster reach this one."""
    node_listen: str = Field(default="", pattern=r"^.+:\d+$|^$")
    """Where this node listens for them, if that is another address than the one they use."""
    node_weight: int = Field(default=1, ge=1, le=16)
    """How many shares of the shards it takes."""
    lease_ttl_s: float = Field(default=10.0, ge=2, le=60)
    """How long a node that is gone keeps its shards from being taken up."""
    journal_patience_s: float = Field(default=10.0, ge=1, le=600)
    """How long a node keeps its shards while it cannot reach Cassandra; then others get them."""
    shards: int = Field(default=64, ge=1, le=4096)
    """Of the cluster; fixed when its first node starts."""
    etcd_endpoints: tuple[str, ...] = ("127.0.0.1:2379",)
    """Members of the coordination service, as host:port."""
    cassandra_contact_points: tuple[str, ...] = ("127.0.0.1:9042",)
    """Nodes of the journal's store, as host:port."""
    object_store: str = Field(default="", pattern=r"^$|^(file|s3)://.+$")
    """Where dead letters and states are kept: ``file:///path`` or ``s3://bucket/prefix``; a folder
    of the data directory unless given. All nodes of a cluster need the same one."""
    s3_endpoint: str = Field(default="", pattern=r"^$|^https?://.+$")
    """Of an object store that is not Amazon's. What is not set here, and in the three below,
    comes from AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""
    s3_region: str = ""
    s3_access_key_id: str = ""
    s3_secret_access_key: SecretStr = SecretStr("")
    cassandra_keyspace: str = Field(default="dataflow", pattern=r"^[a-z][a-z0-9_]{0,47}$")
    """Where the journal of this cluster lives."""

    kafka_brokers: tuple[str, ...] = ()
    """Where a cluster keeps pushed records, and where events are published, as host:port; all
    programs of a cluster need the same."""
    kafka_protocol: Literal["plaintext", "tls", "saslPlaintext", "saslTls"] = "plaintext"
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """With saslPlaintext and saslTls."""
    kafka_username: str = ""
    kafka_password: SecretStr = SecretStr("")
    kafka_ca_file: str = ""
    """Certificates to trust; the system's unless given."""
    kafka_certificate_file: str = ""
    kafka_key_file: str = ""
    """Of this program, for brokers that want a certificate."""
    kafka_replicas: int = Field(default=0, ge=0, le=15)
    """Of each topic that is made here; 0 for as many as the brokers give by themselves, and for
    events three, or as many as there are brokers."""
    events_topic: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,240}$")
    """A topic of Kafka in which every event is published; none unless given."""
    events_partitions: int = Field(default=6, ge=1, le=10_000)
    """Of that topic, where it is made."""
    ingest_log: Literal["files", "kafka"] = "files"
    """Where the program ``dataflow`` keeps pushed records; a node of a cluster, always in Kafka."""

    def told(self) -> str:
        """Return all of it as JSON, what is secret included: for a pipe, never for a log."""
        secrets = {
            name: value.get_secret_value() for name, value in self if isinstance(value, SecretStr)
        }
        return json.dumps({**self.model_dump(mode="json"), **secrets})

    def with_python(self, *, alone: bool) -> Settings:
        """Return settings that say whether ``python`` steps run.

        Unless they did, only where whoever can start a pipeline might run programs anyway: in a
        program ``dataflow`` (``alone``) that this machine alone reaches and that writes any file.
        """
        if self.python:
            return self
        is_free = alone and not self.insecure_bind and not self.file_roots
        return self.model_copy(update={"python": "allowed" if is_free else "refused"})

    @property
    def stop_grace(self) -> timedelta:
        """The same as a duration."""
        return timedelta(seconds=self.stop_grace_s)

    @property
    def journal_patience(self) -> timedelta:
        """The same as a duration."""
        return timedelta(seconds=self.journal_patience_s)


def load(config: Path | None) -> Settings:
    """Read the settings.

    Raises:
        Rejected: the file cannot be read, or a setting is unknown or out of bounds.
    """
    values: dict[str, object] = {}
    if config is not None:
        try:
            values.update(tomllib.loads(config.read_text()))
        except OSError as error:
            raise Rejected(f"{config}: {error.strerror}", field="--config") from error
        except tomllib.TOMLDecodeError as error:
            raise Rejected(f"{config}: {error}", field="--config") from error
    values.update(_from_environment(os.environ))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise Invalid(
            [_problem(str(detail["loc"][0]), detail["msg"]) for detail in error.errors()]
        ) from None


def environment(name: str) -> str | None:
    """Return a variable that a spec refers to as ``${env:NAME}``."""
    return os.environ.get(name)


def _from_environment(variables: Mapping[str, str]) -> dict[str, object]:
    """Return the variables that are settings, an empty one being none.

    Others of the prefix belong to other programs.
    """
    found: dict[str, object] = {}
    for name in Settings.model_fields:
        text = variables.get(PREFIX + name.upper())
        if text:
            found[name] = text.split(LISTS[name]) if name in LISTS else text
    return found


def _problem(name: str, message: str) -> Problem:
    known = ", ".join(Settings.model_fields)
    if name not in Settings.model_fields:
        return Problem(name, f"unknown setting; one of {known}")
    return Problem(f"{name} ({PREFIX}{name.upper()})", message)
