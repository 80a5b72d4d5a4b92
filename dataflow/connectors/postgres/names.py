"""Identifiers as SQL writes them."""

from __future__ import annotations

from collections.abc import Iterable

from dataflow.connectors.postgres.sink_spec import TableName


def quoted(name: str | TableName) -> str:
    """Return a name that means itself, whatever is in it."""
    if isinstance(name, TableName):
        return f"{quoted(name.schema)}.{quoted(name.name)}" if name.schema else quoted(name.name)
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str]) -> str:
    """Return names, quoted, with commas between."""
    return ", ".join(map(quoted, names))


def literal(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
