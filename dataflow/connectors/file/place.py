"""Whether a source would read what a sink writes: it would be replaced, or read for ever."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from dataflow.connect import Rejected, SourceStep
from dataflow.connectors.file.source_options import FORMATS, local_path

REFERENCE = "${"
"""What it stands for is known on its node alone, when the run starts."""

_WILD = frozenset("*?[")
_EXTENSIONS = [f"{name}{stored}" for name in FORMATS for stored in ("", ".gz", ".zst")]


def place_of(connection: str, *, directory: bool) -> str:
    """Return what a sink writes: a file, or a directory by its last slash.

    Empty where that is not known yet.
    """
    if not connection or REFERENCE in connection:
        return ""
    return f"{_real(connection)}{'/' if directory else ''}"


def covers(step: SourceStep, place: str) -> bool:
    """Tell whether a source reads a file, or the files that come to lie in a directory."""
    try:
        connection = local_path(step.connection_string)
    except Rejected:
        return False
    target, directory = Path(place), place.endswith("/")
    if REFERENCE in connection or target.name.startswith((".", "_")):
        return False
    if _WILD.isdisjoint(connection):
        root = _real(connection)
        return target == root or (target.parent == root and not directory)
    parts = Path(connection).parts
    fixed = next(n for n, part in enumerate(parts) if not _WILD.isdisjoint(part))
    pattern = str(_real(str(Path(*parts[:fixed]))).joinpath(*parts[fixed:]))
    places = [target / f"part-1-000001.{extension}" for extension in _EXTENSIONS]
    if not directory:
        places = [target]
    if "**" in parts:
        return any(fnmatchcase(str(path), pattern) for path in places)
    return any(path.match(pattern) for path in places)


def _real(path: str) -> Path:
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL: opening it says so
        return Path(path)
