"""The ``file`` source as people configure it and as the journal remembers it. Imports no Arrow."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field

from dataflow.connect import (
    Options,
    Pinned,
    Position,
    Rejected,
)
from dataflow.connect.columns import COLUMNS_MAX, ColumnTypes, PinnedColumn

Format = Literal[
    "arrow", "csv", "json", "parquet", "text"
]  # as the sink: typing keeps one of two orders
Compression = Literal["none", "gzip", "zstd"]
OtherColumns = Literal["infer", "drop", "reject"]
Lacks = Literal["", "line feed", "end"]

FORMATS: Mapping[str, Format] = {
    "csv": "csv",
    "tsv": "csv",
    "json": "json",
    "jsonl": "json",
    "ndjson": "json",
    "txt": "text",
    "log": "text",
    "parquet": "parquet",
    "arrow": "arrow",
    "arrows": "arrow",
    "ipc": "arrow",
    "feather": "arrow",
}
WRITTEN_ONCE: frozenset[Format] = frozenset({"arrow", "parquet"})
"""Whole once their end is there; nothing is ever added to them."""

COMPRESSIONS: Mapping[str, Compression] = {"gz": "gzip", "gzip": "gzip", "zst": "zstd"}

INFER_ROWS, INFER_ROWS_MAX = 10_000, 1_000_000
"""Rows that inference looks at: a few milliseconds of parsing."""


_ESCAPES = {"unicode-escape", "raw-unicode-escape"}
"""Of Python's source code: two characters may stand for a line break."""


def _delimiter(text: str) -> str:
    if not text.isascii() or text in '"\r\n\0':
        raise ValueError("use one ASCII character that is no quote, no line break and no NUL")
    return text


def _quote(text: str) -> str:
    if not text.isascii() or text in {"\r", "\n", "\0", ","}:
        raise ValueError(
            "use one ASCII character that is no delimiter, no line break and no NUL, or none"
        )
    return text


def _encoding(name: str) -> str:
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        raise ValueError("no such encoding; utf-8, latin-1 and utf-16 are some") from None
    try:  # some codecs know no other handling of errors than their own
        codecs.getincrementaldecoder(name)("backslashreplace").decode(b"\xff")
    except (LookupError, UnicodeError):
        plain = False
    else:
        plain = info._is_text_encoding  # noqa: SLF001 - no other way
    if not plain or info.name in _ESCAPES:
        raise ValueError("it is no encoding of text in files")
    return info.name


class FileSourceOptions(Options):
    """How files are read."""

    format: Format | None = Field(
        default=None, description="What a file holds; by default what its extension says."
    )
    header: bool | None = Field(
        default=None,
        description="csv: the first record holds the names; default unless columns are given.",
    )
    columns: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=COLUMNS_MAX,
        description="csv: the names where there is no header; text: the name of the only column.",
    )
    delimiter: Annotated[str, AfterValidator(_delimiter)] = Field(
        default=",", min_length=1, max_length=1, description="csv: between two cells."
    )
    quote: Annotated[str, AfterValidator(_quote)] = Field(
        default='"',
        max_length=1,
        description="csv: around a cell; empty where quotes mean nothing.",
    )
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        default="utf-8",
        description="csv, json, text: any of Python's encodings, as latin-1 or utf-16.",
    )
    null_values: tuple[str, ...] = Field(
        default=("",),
        max_length=100,
        description="csv: what stands for null, unless quoted. Without the empty text among them"
        " an empty cell is an empty string, and no number.",
    )
    types: ColumnTypes = Field(
        default={},
        alias="schema",
        max_length=COLUMNS_MAX,
        description="csv, json: types by column, or a list of {name, type}.",
    )
    other_columns: OtherColumns = Field(
        default="infer",
        description="csv, json: what to do with columns that schema does not name: infer their"
        " types, drop them, or reject (csv: the file, json: the record).",
    )
    compression: Literal["auto"] | Compression = Field(
        default="auto", description="csv, json, text: auto goes by the extension."
    )
    watch: bool = Field(
        default=False, description="Never end: pick up new files and what is added to old ones."
    )
    must_exist: bool = Field(
        default=False, description="Fail, rather than wait, while there is no file."
    )
    shared: bool = Field(
        default=False,
        description="The path lies on a file system that every node sees, so any node may read it;"
        " by default the pipeline runs on one node, and waits for that one.",
    )
    infer_rows: int = Field(
        default=INFER_ROWS,
        ge=1,
        le=INFER_ROWS_MAX,
        description="csv, json: how many of the first file's records types are inferred from.",
    )

    @property
    def has_header(self) -> bool:
        """Tell whether a csv file begins with its names."""
        return self.header if self.header is not None else self.columns is None


class FilePosition(Position):
    """The next record of a file.

    Attributes:
        offset: bytes before it, after decompression and as UTF-8; the end of a record.
        row_group: of a parquet file, in which ``skip`` counts; of Arrow, the record batch.
        skip: records to pass over, good and bad, counted from ``offset`` or in ``row_group``.
        head: a hash of the file's first ``head_bytes`` (parquet, arrow: its last), to know it.
        head_bytes: at most 1 KiB.
        consumed: bytes of the file as it is stored, for the lag.
        lacks: what the record before it, then the last of its file, had not got: a line feed; or
            any end, as a quote was open or a character cut in two. CR is left for the line feed.
        at_end: whether nothing followed in the file as it was when this was read.
        name: of the file then; the split of a watched one does not tell it.
    """

    offset: int = Field(default=0, ge=0)
    row_group: int = Field(default=0, ge=0)
    skip: int = Field(default=0, ge=0)
    head: str = ""
    head_bytes: int = Field(default=0, ge=0)
    consumed: int = Field(default=0, ge=0)
    lacks: Lacks = ""
    at_end: bool = False
    name: str = ""


class FilePinned(Pinned):
    """What is fixed for a lineage before its first row."""

    format: Format
    columns: tuple[PinnedColumn, ...]


def local_path(connection: str) -> str:
    """Return the path in a connection string: itself, or that of a ``file://`` URL.

    Raises:
        Rejected: it is empty, a URL of another kind, or no name that a file can have.
    """
    if not connection:
        raise Rejected("missing; a path, a glob or a directory", field="connectionString")
    if "\0" in unquote(connection) if "://" in connection else "\0" in connection:
        raise Rejected("no path has a NUL in it", field="connectionString")
    if "://" not in connection:
        return connection
    url = urlsplit(connection.replace("?", "%3F").replace("#", "%23"))
    if url.scheme != "file" or url.netloc not in {"", "localhost"} or not url.path:
        raise Rejected("use a path, or file:///path", field="connectionString")
    return unquote(url.path)


def compression_of(name: str, options: FileSourceOptions) -> Compression:
    """Return how a file of that name is compressed."""
    if options.compression != "auto":
        return options.compression
    return COMPRESSIONS.get(PurePath(name).suffix[1:].lower(), "none")


def format_of(name: str, options: FileSourceOptions) -> Format | None:
    """Return what a file of that name holds; None where only the options could tell."""
    if options.format:
        return options.format
    suffixes = [suffix[1:].lower() for suffix in PurePath(name).suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return FORMATS.get(suffixes[-1]) if suffixes else None
