"""Where objects lie in a bucket: its address, the access to it, and what it says of errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store

from dataflow.core.errors import Rejected

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

REQUEST_MAX, CONNECT_MAX = timedelta(seconds=30), timedelta(seconds=5)
"""Of one try; a dead letter's object has 8 MiB at most, a piece of a larger one 5."""

RETRIES_MAX, RETRY_MAX = 4, timedelta(seconds=20)
"""Then whoever asked is told, and a run is tried again after its own wait."""

_TOLD = re.compile(r"<Code>(?P<code>[^<]+)</Code>(?:<Message>(?P<message>[^<]*)</Message>)?")
_STATUS = re.compile(r"status code: (\d{3} [\w ]+)")

_REMEDIES: Mapping[str, str] = {
    "NoSuchBucket": "make the bucket, or correct object_store",
    "AccessDenied": "give the key the rights to read, write, list and delete there",
    "InvalidAccessKeyId": "check s3_access_key_id or AWS_ACCESS_KEY_ID",
    "XAdminUserNotFound": "check s3_access_key_id or AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check s3_secret_access_key or AWS_SECRET_ACCESS_KEY",
}


@dataclass(frozen=True, slots=True)
class Access:
    """How a bucket is reached; what is empty comes from the usual AWS variables."""

    endpoint: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)


def s3_place(url: str, access: Access) -> S3Store:
    """Return the store at ``s3://bucket/prefix``; nobody is asked yet whether it is there.

    Raises:
        Rejected: it is no such address, or the access to it is none.
    """
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.hostname or parts.username or parts.query:
        raise Rejected(
            f"{_shown(url)!r} is no s3://bucket or s3://bucket/prefix", field="object_store"
        )
    given = {
        "endpoint": access.endpoint,
        "region": access.region,
        "access_key_id": access.access_key_id,
        "secret_access_key": access.secret_access_key,
    }
    config: S3Config = {name: text for name, text in given.items() if text}  # type: ignore[assignment]  # of these names
    client: ClientConfig = {"timeout": REQUEST_MAX, "connect_timeout": CONNECT_MAX}
    if not access.endpoint.startswith("https://"):
        client["allow_http"] = True  # where AWS_ENDPOINT_URL names such a one, too
    retry: RetryConfig = {"max_retries": RETRIES_MAX, "retry_timeout": RETRY_MAX}
    try:
        return S3Store(
            parts.hostname,
            prefix=parts.path.strip("/") or None,
            config=config,
            client_options=client,
            retry_config=retry,
        )
    except (BaseError, ValueError) as error:
        raise Rejected(f"{url}: {said(error)}", field="object_store") from error


def said(error: Exception) -> str:
    """Return what an error says, in a line: a store's own words if it has any, and a remedy.

    The rest of obstore's text is the structure of the error; it repeats and shows requests.
    """
    text = str(error)
    told = _TOLD.search(text)
    if told is None:
        return text.partition("\n")[0].strip()
    code, message = told["code"], (told["message"] or "").strip().rstrip(".")
    status = _STATUS.search(text)
    words = [f"{code}: {message}" if message else code]
    if status and not message:
        words.append(status[1])
    if remedy := _REMEDIES.get(code):
        words.append(remedy)
    return "; ".join(words)


def _shown(url: str) -> str:
    """Return an address without a password that somebody wrote into it."""
    return re.sub(r"//[^/@]*@", "//…@", url)
