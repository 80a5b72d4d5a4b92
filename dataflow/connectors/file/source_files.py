"""Which files there are: one path, a glob or a directory, each under a name that lasts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from dataflow.connect import Rejected, SplitId
from dataflow.connectors.file.source_head import escaped, read_head
from dataflow.connectors.file.source_options import FileSourceOptions, Format
from dataflow.connectors.file.source_stream import reading

FILES_MAX = 10_000
"""Each file has a position in every checkpoint, about 200 bytes of JSON."""

_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class File:
    """A file, and the name of its split.

    The split of a bounded source is the file's path below the folder. One that is watched may be
    renamed at any time, so its split is named by inode and first record: the inode alone would be
    given to another file as soon as this one is deleted.
    """

    split: SplitId
    path: Path
    size: int
    inode: int
    modified: int


class Listing:
    """Lists the files that a connection string means. Its calls must not overlap."""

    def __init__(
        self, connection: str, options: FileSourceOptions, allowed: Callable[[str], Path]
    ) -> None:
        self._connection = connection
        self._options = options
        self._allowed = allowed
        self._identities: dict[tuple[int, int, int], str | None] = {}
        self.unnamed: AbstractSet[int] = frozenset()
        """Inodes of watched files whose first record is not complete, or not at the moment."""

    def files(self, kind: Format | None) -> Sequence[File]:
        """Return the files there are now, in the order of their paths.

        Args:
            kind: what they hold; None leaves files to watch without a lasting name.

        Raises:
            Rejected: there are too many, or one is outside of the roots, or none at all.
            Unavailable: the folder cannot be read at the moment.
        """
        root, paths = self._paths()
        found = []
        unnamed: set[int] = set()
        for path in paths:
            with reading(path, 0):
                try:
                    state = self._allowed(str(path)).stat()
                except FileNotFoundError:  # deleted or renamed since it was listed
                    continue
            if S_ISREG(state.st_mode):
                key = (state.st_ino, state.st_size, state.st_mtime_ns)
                name = _name(root, path)
                if self._options.watch and kind is not None:
                    name = self._identity(key, path, kind) or ""
                if not name:
                    unnamed.add(key[0])
                else:
                    found.append(File(SplitId(name), path, key[1], key[0], key[2]))
            if len(found) > FILES_MAX:
                raise Rejected(
                    f"{self._connection}: more than {FILES_MAX} files; use several pipelines",
                    field="connectionString",
                )
        self.unnamed = unnamed
        return found

    def again(self, file: File, kind: Format) -> File | None:
        """Return a listed file as it is now; None if its path is another file's or nobody's."""
        try:
            state = self._allowed(str(file.path)).stat()
        except OSError:  # the next listing tells what has become of it
            return None
        key = (state.st_ino, state.st_size, state.st_mtime_ns)
        if key == (file.inode, file.size, file.modified):
            return file
        same = key[0] == file.inode and self._identity(key, file.path, kind) == file.split
        return File(file.split, file.path, key[1], key[0], key[2]) if same else None

    def _paths(self) -> tuple[Path, Iterable[Path]]:
        given = Path(self._connection)
        with reading(given, 0):
            if not _GLOB.search(self._connection) or self._allowed(str(given)).exists():
                root = self._allowed(str(given))
                if not root.is_dir():
                    return root.parent, [_ordinary(root)] if root.exists() else []
                return root, sorted(path for path in root.iterdir() if not _hidden(root, path))
            parts = given.parts
            fixed = next(n for n, part in enumerate(parts) if _GLOB.search(part))
            root = self._allowed(str(Path(*parts[:fixed])))
            matches = root.glob(str(Path(*parts[fixed:])))
            return root, sorted(path for path in matches if not _hidden(root, path))

    def _identity(self, key: tuple[int, int, int], path: Path, kind: Format) -> str | None:
        """Return the lasting name of a watched file; None before its first record is complete."""
        if key not in self._identities:
            if len(self._identities) > FILES_MAX * 2:  # one entry a state of a file
                self._identities.clear()
            identity = read_head(path, kind, self._options).identity
            self._identities[key] = identity and f"{key[0]:x}-{identity}"
        return self._identities[key]


def _hidden(root: Path, path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.relative_to(root).parts)


def _ordinary(path: Path) -> Path:
    if path.exists() and not path.is_file():
        raise Rejected(f"{path}: neither a file nor a directory", field="connectionString")
    return path


def _name(root: Path, path: Path) -> str:
    return escaped(str(path.relative_to(root)))
