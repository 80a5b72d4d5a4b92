"""What formats leave to be chosen. Imports no Arrow."""

from __future__ import annotations

from typing import Literal, Protocol

Format = Literal["arrow", "csv", "json", "parquet", "text"]
Compression = Literal["none", "gzip", "zstd", "snappy"]
QuoteStyle = Literal["necessary", "always", "nonNumeric"]


class Shape(Protocol):
    """Options of a sink, as far as they say how rows are written; None is a format's default."""

    @property
    def header(self) -> bool | None:
        """Whether csv begins with the names; default true."""
        ...

    @property
    def delimiter(self) -> str | None:
        """What stands between two values of csv; default a comma."""
        ...

    @property
    def quote_style(self) -> QuoteStyle | None:
        """Which values of csv stand in quotes; default those where it is necessary."""
        ...

    @property
    def null_value(self) -> str | None:
        """What stands for null in csv; default nothing."""
        ...

    @property
    def column(self) -> str | None:
        """The column that text holds; default the only one."""
        ...


class Plain:
    """Every default."""

    header = delimiter = quote_style = null_value = column = None
