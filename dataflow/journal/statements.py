"""Named statements, kept in ``.sql`` and ``.cql`` files beside the module that runs them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load(package: str, file: str) -> Mapping[str, str]:
    """Return the statements of a file by name; each begins with a line ``-- name: …``."""
    _, *parts = _NAME.split(files(package).joinpath(file).read_text(encoding="utf-8"))
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
