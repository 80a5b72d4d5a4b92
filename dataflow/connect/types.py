"""Column types by the names that users write, for authors of connectors and transforms.

Arrow is imported by the two functions that need it, so a spec module can check names of types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflow.expressions.type_names import parse_type
from dataflow.expressions.types import (
    DecimalType,
    Kind,
    ListType,
    StructType,
    TimestampType,
    Type,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "DecimalType",
    "Kind",
    "ListType",
    "StructType",
    "TimestampType",
    "Type",
    "from_arrow",
    "parse_type",
    "to_arrow",
]


def to_arrow(of: Type) -> pa.DataType:
    """Return the Arrow type that expressions compute a type in, so that no cast is needed.

    Raises:
        Rejected: no column can be of this type.
    """
    from dataflow.expressions.arrow import to_arrow as convert  # noqa: PLC0415 - see the top

    return convert(of)


def from_arrow(arrow: pa.DataType) -> Type:
    """Return the type of an Arrow type; one that expressions can't compute with is opaque."""
    from dataflow.expressions.arrow import from_arrow as convert  # noqa: PLC0415 - see the top

    return convert(arrow)
