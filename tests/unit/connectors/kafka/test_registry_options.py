"""What is wrong with the options of a registry, before anything is asked."""

from __future__ import annotations

import pytest

from dataflow.connectors.kafka.registry.options import (
    ReadRegistry,
    Registry,
    WrittenRegistry,
    registry_problems,
    subject_of,
)

URL = "https://registry.example.com"


@pytest.mark.parametrize(
    ("file_format", "given", "field"),
    [
        ("avro", None, "options.registry"),
        ("json", ReadRegistry(url=URL), "options.registry"),
        ("avro", ReadRegistry(url="registry:8081"), "options.registry.url"),
        ("avro", ReadRegistry(url=URL, username="u"), "options.registry.username"),
        ("avro", ReadRegistry(url=URL, key_file="k"), "options.registry.certificateFile"),
        ("avro", ReadRegistry(url=URL, message="m"), "options.registry.message"),
        ("avro", WrittenRegistry(url=URL, schema="{}"), "options.registry.schema"),
        ("protobuf", WrittenRegistry(url=URL, register=True), "options.registry.schema"),
        ("avro", WrittenRegistry(url=URL, subject_name="record"), "options.registry.record"),
    ],
)
def test_a_problem_names_its_field(file_format: str, given: Registry | None, field: str) -> None:
    """Options that each look right alone."""
    assert [problem.field for problem in registry_problems(file_format, given)] == [field]


def test_what_is_fine_has_no_problem() -> None:
    """Json needs no registry; an address may be a reference."""
    assert not registry_problems("json", None)
    assert not registry_problems("avro", ReadRegistry(url="${env:REGISTRY}"))


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        (ReadRegistry(url=URL), "t-value"),
        (ReadRegistry(url=URL, subject="s"), "s"),
        (WrittenRegistry(url=URL, subject_name="record", record="a.B"), "a.B"),
        (WrittenRegistry(url=URL, subject_name="topicRecord", record="a.B"), "t-a.B"),
    ],
)
def test_a_subject_is_named_as_asked(given: Registry, subject: str) -> None:
    """Other clients look for it there."""
    assert subject_of(given, "t") == subject
