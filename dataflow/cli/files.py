"""Pipeline files: YAML or JSON, several documents in one."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeAlias

import click
import yaml

from dataflow.core.errors import Invalid, Problem, Rejected

Spec: TypeAlias = dict[str, Any]
"""The body of ``POST /api/v1/pipelines``."""

TIMESTAMP = "tag:yaml.org,2002:timestamp"


VALUES_MAX = 100_000
"""Values of a document with every alias written out: nine lines of aliases can stand for a billion
(the billion laughs), and a spec has hundreds."""


class Loader(yaml.SafeLoader):
    """YAML as JSON has it: no key twice, moments stay text, and aliases have an end."""

    def construct_document(self, node: yaml.Node) -> Any:  # noqa: ANN401 - any document
        """Return a document; one that would not end, or be too large, is an error."""
        if _values(node, {}) > VALUES_MAX:
            raise yaml.constructor.ConstructorError(
                None, None, f"with its aliases it has more than {VALUES_MAX} values"
            )
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - the signature of yaml
        """Return a mapping; a key given twice is an error, as the first would be lost."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _values(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """Return how many values a node stands for; each is looked at once, however often it is."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if node not in known:
        known[node] = VALUES_MAX + 1  # what holds itself has no end
        children = node.value
        if isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        known[node] = 1 + sum(_values(child, known) for child in children)
    return known[node]


def load(path: str) -> list[Spec]:
    """Return the documents of a file, ``-`` being standard input.

    Raises:
        Rejected: it cannot be read, is neither YAML nor JSON, or holds no pipeline.
    """
    text = _text(path)
    stripped = text.lstrip()
    documents = _json(text, path) if stripped[:1] in (b"{", b"[") else None
    if documents is None:
        documents = _yaml(text, path)
    if not documents:
        raise Rejected(f"{path}: there is no document in it")
    wrong = [n for n, document in enumerate(documents, 1) if not isinstance(document, dict)]
    if wrong:
        where = ", ".join(map(str, wrong))
        raise Rejected(f"{path}: document {where} is no mapping; a pipeline has keys like source")
    return documents


def _text(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise click.FileError(path, error.strerror) from None


def _json(text: bytes, path: str) -> list[Any] | None:
    """Return the documents of a JSON text; None where it may still be YAML in flow style."""
    from dataflow.wire.json import loads  # noqa: PLC0415 - protobuf is not needed for --help

    try:
        value = loads(text)
    except Invalid as error:
        if path.endswith(".json"):
            raise Invalid(
                [Problem(f"{path} {p.field}".strip(), p.message) for p in error.problems]
            ) from None
        return None
    return value if isinstance(value, list) else [value]


def _yaml(text: bytes, path: str) -> list[Any]:
    try:
        found = list(yaml.load_all(text, Loader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Rejected(f"{path}: not YAML: {_told(error)}") from None
    except RecursionError:
        raise Rejected(f"{path}: lists or mappings stand in each other too deep") from None
    return [document for document in found if document is not None]


def _told(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    problem = getattr(error, "problem", "")
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
