"""What may not stand in a spec in the clear: it is journalled for ever and shown to everybody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from dataflow.core.errors import Problem

SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api-?key|credential|authorization", re.IGNORECASE
)
"""Names whose values are credentials."""

CREDENTIALS_IN = frozenset({"args", "auth", "headers", "tls", "properties"})
"""Options whose own keys may name credentials; those of the others are columns."""

SECRET_IN_URL = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@\s:]*:(?!\$\{)[^/@\s]+@", re.IGNORECASE)
REFERENCE = re.compile(r"^$|\$\{(env|file):[^}]+\}")
NO_REFERENCE = re.compile(r"\$\{(?!(env|file):[^}]+\})")
"""What would be taken as it stands, though somebody meant a value by it."""


def credential_problems(path: str, connection: str, options: str) -> Iterator[Problem]:
    """Yield what is wrong with a step's connection string and options (JSON text), by path."""
    if NO_REFERENCE.search(connection):
        message = "holds ${…} that is no reference; write ${env:NAME} or ${file:/path}"
        yield Problem(f"{path}.connectionString", message)
    if SECRET_IN_URL.search(connection):
        message = "holds a password in the clear; write ${env:NAME} or ${file:/path} for it"
        yield Problem(f"{path}.connectionString", message)
    for key in _credentials(options):
        message = "is a credential in the clear; write ${env:NAME} or ${file:/path} for it"
        yield Problem(f"{path}.options.{key}", message)


def _credentials(options: str) -> Iterator[str]:
    """Yield the paths of texts that look like credentials; columns may be called as they like."""
    try:
        given = json.loads(options or "{}")
    except ValueError:
        return
    for key, value in given.items() if isinstance(given, dict) else ():
        nested = value if isinstance(value, dict) and key in CREDENTIALS_IN else {}
        named = {key: value, **{f"{key}.{name}": inner for name, inner in nested.items()}}
        for path, text in named.items():
            if isinstance(text, str) and SECRET_NAME.search(path) and not REFERENCE.search(text):
                yield path
