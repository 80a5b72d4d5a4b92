"""The ``http`` lookup against a server that answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pytest

from dataflow.connect import Lookup, Rejected, Unavailable, Wanted
from dataflow.connect.testkit import LookupSuite, context
from dataflow.connect.testkit.lookup import KNOWN, WANTED
from dataflow.connectors.http.lookup import open_lookup
from dataflow.connectors.http.lookup_spec import SPEC, HttpLookupOptions

Reply = tuple[int, Any, Mapping[str, str]]


class Service:
    """Answers each request by a function; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.headers: dict[str, str] = {}
        self.reply: Callable[[str, Any], Reply] = known
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def _answer(self, body: Any) -> None:  # noqa: ANN401 - JSON
                with service._lock:
                    service.asked.append((self.command, self.path, body))
                    service.headers = dict(self.headers)
                    status, found, headers = service.reply(self.path, body)
                content = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(0 if status == 204 else len(content)))
                self.end_headers()
                self.wfile.write(b"" if status == 204 else content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def told(key: int) -> Any:  # noqa: ANN401 - JSON
    """Return what the service knows of a key."""
    if key not in KNOWN:
        return None
    name, price = KNOWN[key]
    return {"name": name, "price": price, "more": [1]}


def known(path: str, body: Any) -> Reply:  # noqa: ANN401 - JSON
    """Answer as a service that works."""
    if body is not None:
        return 200, {"data": [told(key["id"]) for key in body]}, {}
    found = told(int(path.rpartition("/")[2]))
    return (200, found, {}) if found else (404, {"error": "not found"}, {})


@pytest.fixture
def service() -> Iterator[Service]:
    """Return a service."""
    made = Service()
    yield made
    made.close()


def options(**given: Any) -> HttpLookupOptions:  # noqa: ANN401 - JSON
    """Return options as people write them."""
    asked = {"type": "http", "backoff": "1ms", **given}
    return HttpLookupOptions.model_validate_json(json.dumps(asked), strict=True)


def opened(wanted: Wanted = WANTED, **given: Any) -> Lookup:  # noqa: ANN401 - JSON
    """Return a lookup."""
    return open_lookup(options(**given), wanted, context())


KEYS = pa.record_batch({"id": pa.array([1, 2], pa.int64())})


class HttpSuite(LookupSuite):
    """Over a service that works."""

    url: str

    @pytest.fixture(autouse=True)
    def _service(self, service: Service) -> None:
        self.url = service.url


class TestGet(HttpSuite):
    """A request a key."""

    def lookup(self) -> Lookup:
        return opened(url=f"{self.url}/things/{{id}}")


class TestPost(HttpSuite):
    """Many keys in one."""

    def lookup(self) -> Lookup:
        return opened(url=self.url, method="POST", responsePath="data", batchSize=2)


def test_keys_are_written_into_the_url_so_that_they_stay_one_part_of_it(service: Service) -> None:
    """A key is data: it must not ask for something else."""
    service.reply = lambda *_: (204, None, {})
    lookup = opened(Wanted(["id"], {"v": "string"}), url=f"{service.url}/x?id={{id}}")
    lookup.find(pa.record_batch({"id": ["../a b&c=d?é"]}))
    ((_, path, _),) = service.asked
    assert path.startswith("/x?id=")
    assert "&" not in path
    assert unquote(path) == "/x?id=../a b&c=d?é"
    lookup.close()


def test_a_busy_service_is_asked_again_and_its_pause_kept(service: Service) -> None:
    """Once is no outage."""
    replies = iter([(503, "", {}), (429, "", {"retry-after": "0"})])
    service.reply = lambda path, body: next(replies, None) or known(path, body)
    lookup = opened(url=f"{service.url}/{{id}}", concurrency=1)
    assert lookup.find(KEYS).of.to_pylist() == [0, 1]
    assert len(service.asked) == 4
    lookup.close()


def test_a_service_that_stays_busy_is_an_outage(service: Service) -> None:
    """The run is tried again later, and loses nothing."""
    service.reply = lambda *_: (500, "", {})
    lookup = opened(url=f"{service.url}/{{id}}", attempts=2, concurrency=1)
    with pytest.raises(Unavailable, match="answers 500"):
        lookup.find(KEYS)
    lookup.close()
    gone = opened(url="http://127.0.0.1:1/{id}", attempts=2)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1/1"):
        gone.find(KEYS)
    gone.close()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((400, "no such form", {}), "answers 400"),
        ((302, "", {"location": "http://127.0.0.1:1/"}), "answers 302"),
        ((200, b"<html>", {}), "is no JSON"),
        ((200, [1, 2], {}), "is no object"),
    ],
)
def test_a_fault_that_concerns_one_key_is_told_of_that_key(
    service: Service, reply: Reply, said: str
) -> None:
    """The others are answered; a redirection could lead anywhere, and is not followed."""
    service.reply = lambda path, body: reply if path.endswith("/2") else known(path, body)
    lookup = opened(url=f"{service.url}/{{id}}")
    answer = lookup.find(KEYS)
    assert answer.of.to_pylist() == [0]
    assert list(answer.errors) == [1]
    assert said in answer.errors[1]
    lookup.close()


def test_an_answer_of_another_length_answers_nothing(service: Service) -> None:
    """Nobody could tell which row is whose."""
    service.reply = lambda *_: (200, [{"name": "x", "price": 1}], {})
    lookup = opened(url=service.url, method="POST")
    answer = lookup.find(KEYS)
    assert (answer.rows.num_rows, sorted(answer.errors)) == (0, [0, 1])
    lookup.close()


def test_who_may_not_ask_fails_the_pipeline(service: Service) -> None:
    """Its other keys would fare no better; the header's value is in no message."""
    service.reply = lambda *_: (401, "who are you", {})
    lookup = opened(url=f"{service.url}/{{id}}", headers={"X-Kind": "value-1"})
    with pytest.raises(Rejected, match="answers 401") as caught:
        lookup.find(KEYS)
    assert "value-1" not in str(caught.value)
    assert service.headers["X-Kind"] == "value-1"
    lookup.close()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"url": "ftp://h/{id}"}, "url"),
        ({"url": "http://h/{nope}{id}"}, "url"),
        ({"url": "http://h/"}, "url"),
        ({"url": "http://h/{id}", "method": "POST"}, "url"),
        ({"url": "http://me:clear@h/{id}"}, "url"),
        (
            {"url": "http://h/{id}", "headers": {"Authorization": "Bearer x"}},
            "headers.Authorization",
        ),
    ],
)
def test_wrong_options_are_reported_by_their_path(given: Mapping[str, Any], field: str) -> None:
    """Below the lookup."""
    (problem,) = SPEC.check(options(**given), WANTED)
    assert problem.field == field
