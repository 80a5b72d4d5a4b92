"""HTTP: from a request on a route to its rpc and back, and the routes that are no rpc."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dataflow.core.errors import Invalid, Problem
from dataflow.server import answers
from dataflow.server.backend import Verdict
from dataflow.server.body import BODY_BYTES_MAX, INGEST_BYTES_MAX, read_body
from dataflow.server.call import ACTOR_KEY, COMMAND_KEY, DEADLINE_DEFAULT, Call, actor
from dataflow.server.errors import EdgeError, failure
from dataflow.server.guard import check_origin
from dataflow.server.ingest import CONTENT_TYPES, JSON, push, unwrap
from dataflow.server.observe import CANCELLED, OK
from dataflow.server.replies import error_reply, reply
from dataflow.server.routes import Route
from dataflow.server.services import Services
from dataflow.server.specs import wrong
from dataflow.v1 import pipeline_pb2
from dataflow.wire import json

Answer: TypeAlias = Callable[[Request], Awaitable[Response]]


class Endpoint:
    """One path: answers the verbs it has, refuses the others, and turns every error into JSON."""

    def __init__(
        self, services: Services, verbs: Mapping[str, tuple[str, Answer]], *, loopback: bool
    ) -> None:
        self._services = services
        self._verbs = verbs
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        request = Request(scope, receive)
        started = self._services.clock.steady()
        name, code = "none", CANCELLED
        try:
            check_origin(request.headers, request.method, loopback=self._loopback)
            name, answer = self._find(request.method)
            async with asyncio.timeout(DEADLINE_DEFAULT.total_seconds()):
                response = await answer(request)
            code = OK
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets what it may know
            told = failure(error, self._services.new_id)
            code = told.code
            response = error_reply(told, self._services.clock.now())
            if code == "METHOD_NOT_ALLOWED":
                response.headers["allow"] = ", ".join(self._verbs)
        finally:
            elapsed = self._services.clock.steady() - started
            self._services.requests.observe("http", name, code, elapsed)
        await response(scope, receive, send)

    def _find(self, verb: str) -> tuple[str, Answer]:
        if verb not in self._verbs:
            message = f"use {', '.join(self._verbs)}" if self._verbs else "there is nothing here"
            raise EdgeError("METHOD_NOT_ALLOWED" if self._verbs else "UNKNOWN_PATH", message)
        return self._verbs[verb]


def rpc_answer(route: Route, services: Services) -> Answer:
    """Return what answers a route: request to message, handler, message to response."""
    fields = route.rpc.request.DESCRIPTOR.fields_by_name
    parameters = [(name, fields[name].json_name) for name in route.parameters]

    async def answer(request: Request) -> Response:
        query = request.query_params.multi_items()
        unread: Sequence[Problem] = ()
        if route.has_body:
            message: Any
            message, unread = await _message(request, route)
            if query:
                what = "this request takes its parameters from the body"
                raise Invalid([Problem(key, what) for key, _ in query])
        else:
            message = route.rpc.request()
            json.fill_from_query(message, query)
        for name, shown in parameters:
            given, in_path = getattr(message, name), request.path_params[name]
            if given and str(given) != in_path:
                raise Invalid([Problem(shown, f"is {given!r:.80} here and another in the path")])
            if isinstance(given, str):
                setattr(message, name, in_path)
            else:
                json.fill_from_query(message, [(shown, in_path)])
        if unread:
            return _unread(message, unread, services)
        response = await route.rpc.handler(message, call_of(request))
        return reply(json.dump(response), route.status)

    return answer


async def _message(request: Request, route: Route) -> tuple[Any, Sequence[Problem]]:
    body = await read_body(request, BODY_BYTES_MAX)
    return json.read(body, route.rpc.request) if body.strip() else (route.rpc.request(), ())


def _unread(message: Any, unread: Sequence[Problem], services: Services) -> Response:  # noqa: ANN401 - any request message
    """Tell what could not be read, and of a spec also what is wrong with the rest.

    Raises:
        Invalid: with every problem, unless it was asked for the problems.
    """
    problems = unread
    previewed = isinstance(message, pipeline_pb2.PreviewPipelineRequest) and message.pipeline_id
    if "transforms" in message.DESCRIPTOR.fields_by_name and not previewed:
        problems = wrong(message, unread, services.backend.validate)
    if not isinstance(message, pipeline_pb2.ValidatePipelineRequest) or not problems[0].field:
        raise Invalid(problems)
    return reply(json.dump(answers.found(Verdict(problems))))


def ingest_answer(services: Services) -> Answer:
    """Return what answers a batch of records, whose bytes go on as they are."""

    async def answer(request: Request) -> Response:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in CONTENT_TYPES:
            there_are = ", ".join(sorted(set(CONTENT_TYPES.values())))
            raise EdgeError("UNSUPPORTED_MEDIA_TYPE", f"content-type {media!r}; use {there_are}")
        known = pipeline_pb2.IngestBatchRequest()
        json.fill_from_query(known, request.query_params.multi_items())
        if known.content_type or known.records or known.pipeline_id:
            raise Invalid([Problem("batchId", "is the only parameter of a batch")])
        content_type, batch = CONTENT_TYPES[media], known.batch_id
        records = await read_body(request, INGEST_BYTES_MAX)
        if content_type == JSON:
            inside, records = unwrap(records)
            batch = inside or batch
        batch = batch or request.headers.get(COMMAND_KEY, "") or services.new_id()
        pipeline = request.path_params["pipeline_id"]
        done = await push(services.backend, pipeline, batch, (content_type, records))
        return reply(json.dump(done))

    return answer


def call_of(request: Request) -> Call:
    """Return what the headers say about a call; raises ``Rejected``."""
    return Call(
        actor=actor(request.headers.get(ACTOR_KEY, "")),
        command_id=request.headers.get(COMMAND_KEY, ""),
    )
