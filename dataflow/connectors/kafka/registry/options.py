"""Where a schema registry is, and what is kept there, as people write it. Imports no driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from dataflow.connect import Model, Problem

REGISTRY_FORMATS = frozenset({"avro", "protobuf"})

SCHEMA_CHARACTERS_MAX = 1_000_000
"""Of a schema in an option: what registries take by default."""


class Registry(Model):
    """A server with the API of Confluent's Schema Registry, and how it is reached."""

    url: str = Field(
        min_length=1, description="As in https://registry.example.com; may hold references."
    )
    username: str = Field(default="", description="May be a reference such as ${env:NAME}.")
    password: str = Field(default="", description="Use a reference: ${env:NAME}, ${file:/path}.")
    ca_file: str = Field(default="", description="Certificates to trust; by default the system's.")
    certificate_file: str = Field(default="", description="Of this client, with keyFile.")
    key_file: str = Field(default="", description="Of this client, with certificateFile.")
    subject: str = Field(
        default="", description="Whose newest schema counts; by default <topic>-value."
    )


class ReadRegistry(Registry):
    """Of a source."""

    message: str = Field(
        default="", description="protobuf: the full name of the message; by default the first."
    )


class WrittenRegistry(Registry):
    """Of a sink."""

    subject_name: Literal["topic", "record", "topicRecord"] = Field(
        default="topic",
        description="Of the subject, if none is given: <topic>-value, the full name of the record"
        " or message, or <topic>-<that name>.",
    )
    record: str = Field(
        default="",
        description="The full name of the Avro record or Protobuf message that is written; by"
        " default what the schema holds first.",
    )
    register_: bool = Field(
        default=False,
        alias="register",
        description="Register a schema: the one in schema, or with avro one made of the rows'"
        " columns. By default the subject's newest is used, and has to be there.",
    )
    schema_: str = Field(
        default="",
        alias="schema",
        max_length=SCHEMA_CHARACTERS_MAX,
        description="With register: an Avro schema, or the text of a .proto file.",
    )


def registry_problems(file_format: str, given: Registry | None) -> Sequence[Problem]:
    """Return what is wrong with options that each look right alone."""
    if given is None:
        if file_format in REGISTRY_FORMATS:
            return [Problem("options.registry", f"missing; {file_format} needs its url")]
        return []
    problems = []
    if file_format not in REGISTRY_FORMATS:
        problems.append(Problem("options.registry", "only with format avro or protobuf"))
    if "${" not in given.url and not given.url.startswith(("http://", "https://")):
        problems.append(Problem("options.registry.url", "begin with http:// or https://"))
    if bool(given.username) != bool(given.password):
        problems.append(Problem("options.registry.username", "a user and a password come together"))
    if bool(given.certificate_file) != bool(given.key_file):
        message = "a certificate and its key come together"
        problems.append(Problem("options.registry.certificateFile", message))
    return [*problems, *_own_problems(file_format, given)]


def _own_problems(file_format: str, given: Registry) -> Sequence[Problem]:
    if isinstance(given, ReadRegistry) and given.message and file_format != "protobuf":
        return [Problem("options.registry.message", "only with format protobuf")]
    if not isinstance(given, WrittenRegistry):
        return []
    problems = []
    if given.schema_ and not given.register_:
        problems.append(Problem("options.registry.schema", "only with register"))
    if given.register_ and not given.schema_ and file_format == "protobuf":
        message = "missing; numbers of fields cannot be made of rows"
        problems.append(Problem("options.registry.schema", message))
    if given.subject_name != "topic" and not given.subject and not given.record:
        message = "missing; the subject is named after it"
        problems.append(Problem("options.registry.record", message))
    return problems


def subject_of(given: Registry, topic: str) -> str:
    """Return the subject that holds the schemas of a topic's values."""
    if given.subject:
        return given.subject
    if isinstance(given, WrittenRegistry) and given.subject_name != "topic":
        return given.record if given.subject_name == "record" else f"{topic}-{given.record}"
    return f"{topic}-value"
