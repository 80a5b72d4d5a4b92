"""The ``http`` lookup as people configure it. Imports no client and no Arrow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from dataflow.connect import Duration, LookupOptions, LookupSpec, Problem, Wanted

PLACE = re.compile(r"(?<!\$)\{([^{}]*)\}")
"""A key in a URL, as in https://host/customers/{id}; ``${…}`` is a reference."""

_SECRET_NAME = re.compile(r"authorization|cookie|token|secret|api-?key|password", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\{(env|file):[^}]+\}")

Pause = Annotated[Duration, Field(gt=timedelta(0), le=timedelta(hours=1))]


class HttpLookupOptions(LookupOptions):
    """A service that is asked key by key, or with many keys at once."""

    type: Literal["http"]
    url: str = Field(
        min_length=1, max_length=8_000, description="Where to ask: https://host/customers/{id}."
    )
    method: Literal["GET", "POST"] = Field(
        "GET",
        description="GET: a request a key, which is written into the url. POST: a JSON list of keys"
        " as objects; the answer is a list of as many objects in the same order, null for one that"
        " is not known.",
    )
    headers: Mapping[str, str] = Field(default_factory=dict, description="Sent with each request.")
    response_path: str = Field(
        "", description="Where in the answer the object, or the list, is: data.customer."
    )
    concurrency: int = Field(8, ge=1, le=256, description="Requests under way at once.")
    batch_size: int = Field(100, ge=1, le=10_000, description="POST: keys of one request.")
    timeout: Pause = Field(timedelta(seconds=5), description="For one request.")
    attempts: int = Field(
        3, ge=1, le=100, description="For one request, where nobody answers or the service is busy."
    )
    backoff: Pause = Field(
        timedelta(milliseconds=200), description="Before the second attempt; doubled before each."
    )
    requests_per_second: float | None = Field(
        None, gt=0, le=1_000_000, description="How many requests begin in a second at most."
    )


def _check(options: HttpLookupOptions, wanted: Wanted) -> Sequence[Problem]:
    return [*_url_problems(options, wanted), *_header_problems(options)]


def _url_problems(options: HttpLookupOptions, wanted: Wanted) -> Iterator[Problem]:
    split = urlsplit(options.url)
    if not _REFERENCE.match(options.url) and (
        split.scheme not in {"http", "https"} or not split.netloc
    ):
        yield Problem("url", "is no URL; write https://host/path")
    if "@" in split.netloc and not _REFERENCE.search(split.netloc):
        yield Problem("url", "holds a password in the clear; write ${env:NAME} or a header")
    places = PLACE.findall(options.url)
    for name in places:
        if name not in wanted.keys:
            message = f"{{{name}}} is none of the keys: {', '.join(wanted.keys)}"
            yield Problem("url", message)
    lacking = [name for name in wanted.keys if name not in places]
    if options.method == "GET" and lacking:
        yield Problem("url", f"GET asks for one key: write {{{lacking[0]}}} where it belongs")
    if options.method == "POST" and places:
        yield Problem("url", "POST sends keys in its body; take them out of the url")


def _header_problems(options: HttpLookupOptions) -> Iterator[Problem]:
    for name, value in options.headers.items():
        if _SECRET_NAME.search(name) and not _REFERENCE.search(value):
            message = "is a credential in the clear; write ${env:NAME} or ${file:/path} for it"
            yield Problem(f"headers.{name}", message)


SPEC = LookupSpec(
    name="http",
    summary="A service that answers with JSON.",
    options=HttpLookupOptions,
    open="dataflow.connectors.http.lookup:open_lookup",
    check=_check,
)
