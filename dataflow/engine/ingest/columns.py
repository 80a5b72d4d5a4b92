"""The columns of a log: declared, or taken from the first batch, and the same ever after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dataflow.connect.batches import type_name
from dataflow.connect.columns import COLUMNS_MAX, TAKEN
from dataflow.connect.transform import HIDDEN
from dataflow.connect.types import parse_type, to_arrow
from dataflow.core.errors import Code, Rejected
from dataflow.engine.ingest import rows

DEPTH_MAX = 32
"""Of lists and objects in one another; Arrow's format ends at 64."""

FIELDS_SHOWN_MAX = 20


class Misfit(Exception):
    """Some record does not fit; ``record`` and ``field`` say which, where that is known."""

    def __init__(self, message: str, *, record: int = 0, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.record = record
        self.field = field

    def rejected(self) -> Rejected:
        """Return the error for whoever pushed the batch."""
        message = f"{self.message}; nothing of the batch was taken"
        return Rejected(message, code=Code.RECORD_REJECTED, field=self.where)

    @property
    def where(self) -> str:
        """Return where the record stands among those that came, and its field."""
        return f"records[{self.record}]" + (f".{self.field}" if self.field else "")


def declared(types: Mapping[str, str]) -> pa.Schema | None:
    """Return the schema that a source's options declare; None if they leave it open."""
    if not types:
        return None
    return pa.schema([pa.field(name, to_arrow(parse_type(of))) for name, of in types.items()])


def agreed(types: Mapping[str, str], stored: bytes | None) -> pa.Schema | None:
    """Return the schema every batch must have; None while nothing says.

    Raises:
        Rejected: the options declare another one than the log has.
    """
    wanted = declared(types)
    if stored is None:
        return wanted
    schema = rows.read_schema(stored)
    if wanted is not None and wanted != schema:
        raise Rejected(
            f"the log of pushed records has {shown(schema)}, fixed by its first batch, and the"
            f" source declares {shown(wanted)}; declare the same, or make another pipeline",
            field="source.options.schema",
        )
    return schema


def shown(schema: pa.Schema) -> str:
    """Return the columns and their types as people write them."""
    names = [f"{field.name}: {type_name(field.type)}" for field in schema]
    more = len(names) - FIELDS_SHOWN_MAX
    return ", ".join(names[:FIELDS_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def checked(schema: pa.Schema) -> pa.Schema:
    """Return a first batch's schema, if a log can have it.

    Raises:
        Misfit: it has no columns, too many, two of a name, or one that the engine adds itself.
    """
    names = schema.names
    if not names:
        raise Misfit("the first batch names no field, and the source declares no schema")
    if len(names) > COLUMNS_MAX:
        raise Misfit(f"{len(names)} fields are more than the {COLUMNS_MAX} of a log")
    for name in names:
        if name in HIDDEN:
            raise Misfit(f"the name is taken: {TAKEN}", field=name)
        if names.count(name) > 1:
            raise Misfit("two columns have this name", field=name)
    return schema


def depth(of: pa.DataType | pa.Schema) -> int:
    """Return how deep lists and objects stand in one another."""
    parts: list[pa.Field[Any]] = []
    if isinstance(of, pa.ListType):
        parts = [of.value_field]
    elif isinstance(of, pa.StructType | pa.Schema):
        parts = list(of)
    return 1 + max((depth(part.type) for part in parts), default=0)


def width(of: pa.DataType | pa.Schema) -> int:
    """Return how many fields an object or a record has at most, at any depth."""
    if isinstance(of, pa.ListType):
        return width(of.value_type)
    if isinstance(of, pa.StructType | pa.Schema):
        return max(len(list(of)), *(width(part.type) for part in of), 1)
    return 1
