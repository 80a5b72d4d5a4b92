"""The OpenAPI document says what is served: all of it, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from google.api import annotations_pb2

from dataflow.server.services import SERVED

RPCS = [
    method
    for service in SERVED
    for method in service.methods
    if method.GetOptions().HasExtension(annotations_pb2.http)  # type: ignore[arg-type]  # untyped extension
]


@pytest.fixture
async def document(http: httpx.AsyncClient) -> dict[str, Any]:
    """Ask the server for it."""
    answer: dict[str, Any] = (await http.get("/openapi.json")).json()
    return answer


def _rule(method: Any) -> tuple[str, str]:  # noqa: ANN401 - a descriptor
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    return verb, getattr(rule, verb)


def _shown(template: str) -> str:
    return template.replace("_id}", "Id}")


@pytest.mark.parametrize("method", RPCS, ids=lambda method: method.name)
async def test_every_rpc_with_a_path_has_a_route_and_an_entry(
    http: httpx.AsyncClient,
    document: dict[str, Any],
    method: Any,  # noqa: ANN401 - a descriptor
) -> None:
    """An rpc brings its path, its entry and its schema along; a gap would be an oversight."""
    verb, template = _rule(method)
    response = await http.request(verb, re.sub(r"{\w+}", "7", template), content=b"")
    assert response.status_code != 405
    assert response.headers["content-type"] == "application/json"
    assert response.json().get("error") != "UNKNOWN_PATH"
    assert document["paths"][_shown(template)][verb]["operationId"] == method.name


def test_there_are_rpcs_to_check() -> None:
    """The test above is generated, and nothing generated would pass too."""
    assert len(RPCS) >= 20


async def test_every_entry_has_a_route(http: httpx.AsyncClient, document: dict[str, Any]) -> None:
    """A promised path that answers 404 is worse than none."""
    for path, verbs in document["paths"].items():
        for verb in verbs:
            concrete = re.sub(r"\{.*?\}", "nobody", path)
            response = await http.request(verb.upper(), concrete, content=b"")
            assert not response.text.startswith('{"error":"UNKNOWN_PATH"')
            assert response.status_code != 405


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for child in value.values():
            yield from _references(child)
    elif isinstance(value, list):
        for child in value:
            yield from _references(child)


async def test_the_document_is_well_formed(document: dict[str, Any]) -> None:
    """As the specification of OpenAPI 3.1 requires: what tools stumble over."""
    assert document["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(document["info"])
    seen = set()
    for path, verbs in document["paths"].items():
        for operation in verbs.values():
            assert operation["operationId"] not in seen
            seen.add(operation["operationId"])
            assert all("description" in answer for answer in operation["responses"].values())
            parameters = operation.get("parameters", [])
            in_path = {p["name"] for p in parameters if p["in"] == "path" and p["required"]}
            assert in_path == set(re.findall(r"\{(.*?)\}", path))
            assert all("schema" in parameter for parameter in parameters)
    schemas = document["components"]["schemas"]
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas, reference


async def test_words_of_the_document_come_from_proto(document: dict[str, Any]) -> None:
    """Comments are written once."""
    create = document["paths"]["/api/v1/pipelines"]["post"]
    assert create["summary"].startswith("Make a pipeline.")
    assert "201" in create["responses"]
    schemas = document["components"]["schemas"]
    properties = schemas["CreatePipelineRequest"]["properties"]
    assert "lower-case letters" in properties["pipelineId"]["description"]
    assert schemas["PipelineOptions"]["properties"]["onError"]["enum"] == [
        "fail",
        "skip",
        "dead-letter",
    ]


async def test_options_of_connectors_are_described(document: dict[str, Any]) -> None:
    """From their own models, which are handed in."""
    schemas = document["components"]["schemas"]
    choices = schemas["Source"]["properties"]["options"]["anyOf"]
    assert choices == [{"$ref": "#/components/schemas/sourceOptions.file"}]
    reference = schemas["sourceOptions.file"]["properties"]["format"]["$ref"]
    assert schemas[reference.rpartition("/")[2]]["enum"] == ["csv", "json"]
    assert schemas["Sink"]["properties"]["options"]["type"] == "object"


async def test_list_parameters_are_described(document: dict[str, Any]) -> None:
    """With the words that a status can have."""
    parameters = document["paths"]["/api/v1/pipelines"]["get"]["parameters"]
    by_name = {parameter["name"]: parameter for parameter in parameters}
    assert set(by_name) == {"status", "label", "q", "pageSize", "pageToken"}
    assert "running" in by_name["status"]["schema"]["enum"]
