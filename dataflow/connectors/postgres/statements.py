"""The named statements of a ``.sql`` file beside this module."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files


def load(file: str) -> Mapping[str, str]:
    """Return the statements of a file, each headed by ``-- name: <name>``; braces are places."""
    text = files("dataflow.connectors.postgres").joinpath(file).read_text("utf-8")
    parts = [part.partition("\n") for part in text.split("-- name: ")[1:]]
    return {name.strip(): statement.strip() for name, _, statement in parts}
