"""A schema registry, asked over HTTP; what it has answered of an id holds for ever.

Blocking: called in a thread.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from dataflow.connect import Context, Rejected, Unavailable
from dataflow.connectors.kafka.registry.options import Registry

ANSWER_S = 10.0

REFERENCES_MAX = 1_000
"""Schemas that one schema is made of, at the most."""

_MEDIA = "application/vnd.schemaregistry.v1+json"
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_NO_LOGIN = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


class Schema(NamedTuple):
    """A schema as the registry keeps it.

    Attributes:
        kind: ``AVRO``, ``PROTOBUF`` or ``JSON``.
        references: what its text refers to by name, those needed first before others.
    """

    id: int
    kind: str
    text: str
    references: Mapping[str, str] = {}


class UnknownSchema(Exception):
    """The registry has no schema of that id."""


class Client:
    """Asks a registry."""

    def __init__(self, options: Registry, context: Context) -> None:
        self.url = context.secret(options.url).rstrip("/")
        login = (context.secret(options.username), context.secret(options.password))
        self._http = httpx.Client(
            timeout=ANSWER_S,
            auth=login if options.username else None,
            verify=_trust(options, context) if self.url.startswith("https://") else False,
            headers={"Accept": f"{_MEDIA}, application/json"},
        )
        self._known: dict[int, Schema] = {}

    def schema(self, number: int) -> Schema:
        """Return the schema of an id.

        Raises:
            UnknownSchema: there is none.
            Rejected, Unavailable: the registry refuses, or does not answer.
        """
        if number not in self._known:
            found = self._ask("GET", f"/schemas/ids/{number}")
            if found is None:
                raise UnknownSchema
            self._known[number] = self._schema(number, found)
        return self._known[number]

    def latest(self, subject: str) -> Schema | None:
        """Return the newest schema of a subject, if there is one."""
        found = self._ask("GET", f"/subjects/{quote(subject, safe='')}/versions/latest")
        return None if found is None else self._schema(found["id"], found)

    def register(self, subject: str, kind: str, text: str) -> Schema:
        """Have a subject hold a schema as its newest.

        Raises:
            Rejected: it does not go with those before it, or is none.
        """
        body = {"schema": text} if kind == "AVRO" else {"schema": text, "schemaType": kind}
        path = f"/subjects/{quote(subject, safe='')}/versions"
        try:
            found = self._ask("POST", path, body)
        except _Refused as refused:
            if refused.status == HTTPStatus.CONFLICT:
                raise Rejected(
                    f"subject {subject}: the schema can't evolve into this one: {refused};"
                    " add only fields that may be missing and keep the types of the others, or"
                    " write to another subject or topic, or lower the subject's compatibility",
                    field="options.registry",
                ) from None
            message = f"subject {subject}: the registry takes no such schema: {refused}"
            raise Rejected(message, field="options.registry.schema") from None
        if found is None:
            raise Rejected(f"{self.url}: no registry answers here", field="options.registry.url")
        return Schema(found["id"], kind, text)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _schema(self, number: int, found: Mapping[str, Any]) -> Schema:
        references: dict[str, str] = {}
        self._refer(found.get("references") or (), references)
        return Schema(number, found.get("schemaType", "AVRO"), found["schema"], references)

    def _refer(self, wanted: Sequence[Mapping[str, Any]], found: dict[str, str]) -> None:
        for one in wanted:
            if one["name"] in found:
                continue
            if len(found) >= REFERENCES_MAX:
                raise Rejected(f"{self.url}: a schema refers to more than {REFERENCES_MAX} others")
            place = f"/subjects/{quote(one['subject'], safe='')}/versions/{one['version']}"
            answer = self._ask("GET", place)
            if answer is None:
                message = f"{self.url}: a schema refers to {one['subject']} version"
                raise Rejected(f"{message} {one['version']}, which is not there")
            self._refer(answer.get("references") or (), found)
            found[one["name"]] = answer["schema"]

    def _ask(
        self, method: str, path: str, body: Mapping[str, str] | None = None
    ) -> Mapping[str, Any] | None:
        """Return an answer, or None where there is no such thing."""
        where = f"schema registry {self.url}"
        try:
            answer = self._http.request(method, f"{self.url}{path}", json=body)
        except httpx.InvalidURL as error:
            raise Rejected(f"{where}: {error}", field="options.registry.url") from error
        except httpx.HTTPError as error:
            if "CERTIFICATE_VERIFY_FAILED" in f"{error}":
                message = f"{where}: its certificate is not trusted; name its authority in caFile"
                raise Rejected(message, field="options.registry.caFile") from error
            raise Unavailable(f"{where}: {type(error).__name__} {error}") from error
        return _told(answer, where, is_given=body is not None)


def _told(answer: httpx.Response, where: str, *, is_given: bool) -> Mapping[str, Any] | None:
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return None
    if answer.status_code in _NO_LOGIN:
        message = f"{where}: it refuses this login ({answer.status_code})"
        raise Rejected(message, field="options.registry.username")
    if answer.is_server_error or answer.status_code in _PASSING:
        raise Unavailable(f"{where}: status {answer.status_code}")
    try:
        told = answer.json()
    except ValueError:
        told = None
    if answer.is_success and isinstance(told, dict):
        return told
    reason = told.get("message", "") if isinstance(told, dict) else "it is no registry"
    if is_given and answer.is_error:
        raise _Refused(answer.status_code, reason)
    message = f"{where}: status {answer.status_code}: {reason}"
    raise Rejected(message, field="options.registry.url")


class _Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def _trust(options: Registry, context: Context) -> ssl.SSLContext:
    file = f"{context.path(options.ca_file)}" if options.ca_file else None
    try:
        trust = ssl.create_default_context(cafile=file)
        if options.certificate_file:
            own = context.path(options.certificate_file), context.path(options.key_file)
            trust.load_cert_chain(*own)
    except OSError as error:  # ssl's errors are such
        message = f"a certificate cannot be read: {error}"
        raise Rejected(message, field="options.registry.caFile") from error
    return trust
