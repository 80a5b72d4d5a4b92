"""HTTP routes from the ``google.api.http`` options: an rpc brings its path along."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule

from dataflow.server.services import Rpc

_PARAMETER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One verb on one path: ``template`` has proto names in braces, as Starlette takes them."""

    verb: str
    template: str
    parameters: tuple[str, ...]
    has_body: bool
    status: HTTPStatus
    rpc: Rpc

    @property
    def shown_path(self) -> str:
        """The path as people read it: parameters in camelCase, as in JSON."""
        fields = self.rpc.request.DESCRIPTOR.fields_by_name
        return _PARAMETER.sub(lambda found: f"{{{fields[found[1]].json_name}}}", self.template)


def routes_of(rpcs: Iterable[Rpc]) -> list[Route]:
    """Return the routes of every rpc that has any, in the order of proto/.

    Raises:
        TypeError: a rule says what is not served: a body that is a field, a path with wildcards.
    """
    return [_route(rpc, rule) for rpc in rpcs for rule in _rules(rpc)]


def _rules(rpc: Rpc) -> Iterator[HttpRule]:
    options: Any = rpc.descriptor.GetOptions()  # the stubs do not know http as an extension
    if options.HasExtension(annotations_pb2.http):
        rule: HttpRule = options.Extensions[annotations_pb2.http]
        yield rule
        yield from rule.additional_bindings


def _route(rpc: Rpc, rule: HttpRule) -> Route:
    verb = rule.WhichOneof("pattern")
    template = getattr(rule, verb or "custom")
    if rule.body not in {"", "*"} or not isinstance(template, str):
        raise TypeError(f"{rpc.name}: only whole bodies and plain verbs are served")
    parameters = tuple(_PARAMETER.findall(template))
    fields = rpc.request.DESCRIPTOR.fields_by_name
    if template.count("{") != len(parameters) or not set(parameters) <= set(fields):
        raise TypeError(f"{rpc.name}: {template} names something that is no field")
    creates = verb == "post" and rpc.name.startswith("Create")
    return Route(
        verb=str(verb).upper(),
        template=template,
        parameters=parameters,
        has_body=rule.body == "*",
        status=HTTPStatus.CREATED if creates else HTTPStatus.OK,
        rpc=rpc,
    )
