"""The ``file`` sink as people configure it and as the journal remembers it. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dataflow.connect import (
    Committable,
    Duration,
    Guarantee,
    Model,
    Options,
    Problem,
    SinkSpec,
    SinkStep,
)
from dataflow.connectors.file.place import place_of
from dataflow.connectors.formats.shape import Compression, Format, QuoteStyle

IfExists = Literal["fail", "append", "replace"]

FORMATS: Mapping[str, Format] = {
    "arrow": "arrow",
    "ipc": "arrow",
    "feather": "arrow",
    "csv": "csv",
    "json": "json",
    "jsonl": "json",
    "ndjson": "json",
    "parquet": "parquet",
    "txt": "text",
}
"""What an extension says about the rows; any other name is that of a directory."""

INSIDE: Mapping[Format, tuple[Compression, ...]] = {
    "parquet": ("snappy", "zstd", "none"),
    "arrow": ("none", "zstd"),
}
"""What formats that cannot be cut compress inside with; by default the first."""

COMPRESSIONS: Mapping[str, Compression] = {"gz": "gzip", "zst": "zstd"}

ROTATE_ROWS, ROTATE_BYTES, ROTATE_INTERVAL = 1_000_000, 128 << 20, timedelta(minutes=5)
"""A part that a reader takes in one go: parquet's usual row group, HDFS's usual block."""


def _delimiter(text: str) -> str:
    if len(text) != 1 or not text.isascii() or text in '"\r\n':
        raise ValueError("use one ASCII character that is no quote and no line break")
    return text


class FileSinkOptions(Options):
    """How rows are written to files."""

    format: Format | None = Field(
        default=None, description="What a file holds; by default what its extension says."
    )
    compression: Literal["auto", "none", "gzip", "zstd", "snappy"] = Field(
        default="auto",
        description="gzip and zstd wrap csv, json and text (auto: as the extension says);"
        " parquet compresses inside with snappy (auto), zstd or none, arrow with none (auto) or"
        " zstd.",
    )
    if_exists: IfExists = Field(
        default="fail",
        description="What happens to data that is there before the pipeline's first row:"
        " fail refuses to start, append writes behind it, replace removes it.",
    )
    header: bool | None = Field(
        default=None, description="csv: begin with the names; default true."
    )
    delimiter: Annotated[str, AfterValidator(_delimiter)] | None = Field(
        default=None, description="csv: between two values; default a comma."
    )
    quote_style: QuoteStyle | None = Field(
        default=None,
        description="csv: which values stand in quotes; default those where it is necessary.",
    )
    null_value: str | None = Field(
        default=None, max_length=100, description="csv: what stands for null; default nothing."
    )
    column: str | None = Field(
        default=None,
        min_length=1,
        description="text: the column that is written; default the only one.",
    )
    rotate_rows: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000_000,
        description=f"directory: rows of a part, exactly; default {ROTATE_ROWS}, 0 is no limit.",
    )
    rotate_bytes: int | None = Field(
        default=None,
        ge=0,
        le=1 << 40,
        description="directory: bytes after which a part ends, as staged (parquet, arrow:"
        f" before its encoding); default {ROTATE_BYTES}, 0 is no limit.",
    )
    rotate_interval: Duration | None = Field(
        default=None,
        description="directory: age at which a part ends; default 5 minutes, 0 is no limit.",
    )
    shared: bool = Field(
        default=False,
        description="The path lies on a file system that every node sees and that keeps locks"
        " between nodes (NFSv4, CephFS), so any node may write it; by default the pipeline runs on"
        " one node, and waits for that one.",
    )


class FinishedPart(Model):
    """A complete file: staged under one name until it is decided, then visible under another.

    Attributes:
        stage: its hidden name.
        name: the name that readers see.
        bytes: its size, by which a second commit recognises it.
        rows: records in it.
        spent: the hidden file it was converted from, dropped when it is visible.
        over: it replaces a file of that name, which is an earlier state of this one.
    """

    stage: str
    name: str
    bytes: int
    rows: int
    spent: str = ""
    over: bool = False


class OpenPart(Model):
    """A file that more rows are written to, and the length that is decided.

    Attributes:
        stage: its hidden name; empty for a plain file, which is written in place.
        name: the name that readers see, or will see.
        bytes: everything behind is cut on recovery.
        rows: records within ``bytes``.
        opened_at: when its first row was written.
        columns: its columns and types, where the format has them.
        dialect: how its values are written, where options say so; empty of an older release.
        over: a file of that name is there, and is an earlier state of this one.
    """

    stage: str = ""
    name: str
    bytes: int = 0
    rows: int = 0
    opened_at: datetime | None = None
    columns: Mapping[str, str] | None = None
    dialect: str = ""
    over: bool = False


class Written(Committable):
    """What a checkpoint of the file sink holds.

    Attributes:
        target: the file or directory.
        finished: parts that ``commit`` makes visible.
        open: the part that goes on.
        begins_at: bytes of a plain file that were there before the pipeline.
        replaces: what was there before is removed AFTER this, the seed, is decided.
        next: number of the next part of a directory.
        format: of a single file; empty of a directory, and of an older release.
    """

    target: str
    finished: tuple[FinishedPart, ...] = ()
    open: OpenPart | None = None
    begins_at: int = 0
    replaces: bool = False
    next: int = 1
    format: str = ""

    @property
    def hidden_rows(self) -> int:
        """See ``Committable``; a plain file has no stage, its rows are seen where they are."""
        return self.open.rows if self.open and self.open.stage else 0


@dataclass(frozen=True, slots=True)
class Layout:
    """Options and connection string, agreed: every default filled in."""

    format: Format
    compression: Compression
    directory: bool
    extension: str


def layout_of(target: str, options: FileSinkOptions) -> tuple[Layout | None, Sequence[Problem]]:
    """Return what the options say together, or what contradicts what."""
    if not target:
        return None, [Problem("connectionString", "missing; give a file or a directory")]
    named, wrapped, extension = _of_name(target)
    chosen = options.format or named
    if chosen is None:
        message = f"missing; a directory needs one of {', '.join(sorted({*FORMATS.values()}))}"
        return None, [Problem("options.format", message)]
    problems = [*_format_problems(options, named, wrapped, chosen), *_idle(options, named, chosen)]
    if problems:
        return None, problems
    compression: Compression = INSIDE[chosen][0] if chosen in INSIDE else wrapped or "none"
    if options.compression != "auto":
        compression = options.compression
    if not named:
        suffix = {"gzip": ".gz", "zstd": ".zst"}.get(compression, "")
        extension = {"text": "txt"}.get(chosen, chosen) + ("" if chosen in INSIDE else suffix)
    return Layout(chosen, compression, not named, extension), []


def _of_name(target: str) -> tuple[Format | None, Compression | None, str]:
    name = target.rsplit("/", 1)[-1].lower()
    stem, _, last = name.rpartition(".")
    wrapped = COMPRESSIONS.get(last) if stem else None
    inner = stem.rpartition(".")[2] if wrapped else last
    if not stem or inner not in FORMATS:
        return None, None, ""
    return FORMATS[inner], wrapped, f"{inner}.{last}" if wrapped else inner


def _format_problems(
    options: FileSinkOptions, named: Format | None, wrapped: Compression | None, chosen: Format
) -> list[Problem]:
    problems = []
    asked = options.compression
    if named not in {None, "text", chosen}:
        problems.append(
            Problem("options.format", f"{chosen!r} contradicts the name, which says {named!r}")
        )
    if chosen in INSIDE:
        return problems + _inside_problems(options, named, wrapped, chosen)
    if asked == "snappy":
        problems.append(Problem("options.compression", f"{chosen}: one of gzip, zstd, none"))
    if named and asked not in {"auto", "snappy", wrapped or "none"}:
        message = f"{asked!r} contradicts the name, which says {wrapped or 'none'!r}"
        problems.append(Problem("options.compression", message))
    return problems


def _inside_problems(
    options: FileSinkOptions, named: Format | None, wrapped: Compression | None, chosen: Format
) -> list[Problem]:
    problems = []
    if wrapped:
        message = f"{chosen} compresses inside; name the file .{chosen}"
        problems.append(Problem("connectionString", message))
    if options.compression not in {"auto", *INSIDE[chosen]}:
        message = f"{chosen}: one of {', '.join(INSIDE[chosen])}"
        problems.append(Problem("options.compression", message))
    if named and options.if_exists == "append":
        what = {"arrow": "an Arrow file"}.get(chosen, f"a {chosen} file")
        message = f"{what} cannot be appended to; use a directory"
        problems.append(Problem("options.ifExists", message))
    return problems


def _idle(options: FileSinkOptions, named: Format | None, chosen: Format) -> list[Problem]:
    """Return a problem for each option that would do nothing."""
    problems = []
    for only, when, names in (
        ("format csv", chosen == "csv", ("header", "delimiter", "quote_style", "null_value")),
        ("format text", chosen == "text", ("column",)),
        ("a directory", not named, ("rotate_rows", "rotate_bytes", "rotate_interval")),
    ):
        for name in names:
            if not when and getattr(options, name) is not None:
                shown = FileSinkOptions.model_fields[name].alias or name
                problems.append(Problem(f"options.{shown}", f"only for {only}"))
    return problems


def _check(step: SinkStep, options: FileSinkOptions) -> Sequence[Problem]:
    return layout_of(step.connection_string, options)[1]


def _place(step: SinkStep) -> str:
    named, _, _ = _of_name(step.connection_string)
    return place_of(step.connection_string, directory=named is None)


SPEC = SinkSpec(
    name="file",
    summary="Rows into one file, or into the part files of a directory, exactly once.",
    guarantee=Guarantee.EXACTLY_ONCE,
    options=FileSinkOptions,
    open="dataflow.connectors.file.sink:open_sink",
    committable=Written,
    check=_check,
    place=_place,
    node_local=lambda _, options: not options.shared,
)
