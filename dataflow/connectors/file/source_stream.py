"""A file as a stream of UTF-8 bytes: decompressed, transcoded, with the offset of what comes next.

An undecodable byte becomes ``UNDECODABLE``, which is invalid UTF-8, so the parser of the format
refuses the one record that it stands in, wherever it stands.
"""

from __future__ import annotations

import codecs
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import pyarrow as pa

from dataflow.connect import Rejected, Unavailable, Waiting
from dataflow.connectors.file.source_options import Compression

UNDECODABLE = b"\x80"
"""A continuation byte without a beginning."""

_SKIP_BYTES = 1 << 20
"""Read at once while passing over what was read before: large enough to be quick, and bounded."""

_PERMANENT = {errno.EACCES, errno.EPERM}
_UNFIT = {errno.EINVAL, errno.ESPIPE, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO}
"""What devices, what the system makes up, and names that are none answer, each time."""

_MARK = "dataflow.undecodable"


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udc80", error.end


codecs.register_error(_MARK, _mark)


class Cut(Exception):
    """A compressed file ends in the middle of its last member."""


class Bytes(Protocol):
    """What the layers below have in common."""

    def read(self, size: int) -> bytes:
        """Return some bytes, at most ``size``; none at the end."""
        ...


@dataclass
class Stream:
    """The text of a file from some offset on."""

    path: Path
    offset: int
    stored: Callable[[], int]
    """Bytes taken of the file as it is stored."""
    _bytes: Bytes
    _closing: Callable[[], None]
    _raw: IO[bytes] | None

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes; fewer only at the end.

        Raises:
            Cut: a compressed file is not complete.
            Rejected: it is damaged.
            Unavailable: it cannot be read at the moment.
        """
        parts, missing = [], size
        with reading(self.path, self.offset, self.stored):
            while missing > 0 and (part := self._bytes.read(missing)):
                parts.append(part)
                missing -= len(part)
                self.offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip_to(self, offset: int) -> bool:
        """Go on to an offset further on; False where the file ends before it."""
        if self._raw is not None:
            with reading(self.path, self.offset):
                if self._raw.seek(0, 2) < offset:
                    return False
                self.offset = self._raw.seek(offset)
            return True
        while self.offset < offset and self.read(min(_SKIP_BYTES, offset - self.offset)):
            pass
        return self.offset == offset

    def close(self) -> None:
        """Release the file."""
        self._closing()


def open_stream(path: Path, compression: Compression, encoding: str) -> Stream:
    """Open a file at its beginning.

    Raises:
        Waiting: it is not there.
        Rejected: it is a directory, or may not be read.
        Unavailable: it cannot be opened at the moment.
    """
    with reading(path, 0):
        if compression == "none":
            plain = path.open("rb", buffering=0)
            source: Bytes = plain
            stored, closing = plain.tell, plain.close
        else:
            plain = None
            file = pa.PythonFile(path.open("rb"), mode="r")
            inflated = pa.CompressedInputStream(file, compression)
            source, stored = inflated, file.tell

            def closing() -> None:
                inflated.close()
                file.close()

    if encoding == "utf-8":
        return Stream(path, 0, stored, source, closing, plain)
    return Stream(path, 0, stored, _Transcoded(source, encoding), closing, None)


@contextmanager
def reading(path: Path, offset: int, stored: Callable[[], int] | None = None) -> Iterator[None]:
    """Translate what the operating system, Arrow and codecs raise; the one place that does.

    Args:
        path: of the file.
        offset: in its text, where the reading begins.
        stored: tells how much has been taken of a file, for damage may lie far behind ``offset``.
    """
    try:
        yield
    except FileNotFoundError:
        raise Waiting(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise Rejected(f"{path}: is a directory, where a file was expected") from None
    except OSError as error:
        raise _translated(error, path, offset, stored) from error
    except UnicodeError as error:  # utf-16 and utf-32 do without no mark of their byte order
        raise Rejected(
            f"{path}: {error}; use an encoding whose byte order is fixed, as utf-16-le",
            field="options.encoding",
        ) from error


def _translated(
    error: OSError, path: Path, offset: int, stored: Callable[[], int] | None
) -> Exception:
    if error.errno in _PERMANENT:
        return Rejected(f"{path}: {error.strerror}", code="PERMISSION")
    if error.errno in _UNFIT:
        return Rejected(f"{path}: cannot be read as a file: {error.strerror}")
    if error.errno is not None:
        message = f"{path}: cannot be read at offset {offset}: {error.strerror}"
        return Unavailable(message, code="STORAGE")
    if str(error) == "Truncated compressed stream":
        return Cut(
            f"{path}: ends in the middle of its compressed data, more than {offset} bytes into"
            " its content"
        )
    at = f" near its byte {stored()}" if stored else ""
    return Rejected(f"{path}: is damaged{at}: {error}", code="CORRUPTED")


class _Transcoded:
    """Bytes of any encoding as UTF-8, a piece at a time."""

    def __init__(self, source: Bytes, encoding: str) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)(errors=_MARK)
        self._ended = False
        self._left = b""
        """Decoded and not yet asked for; UTF-8 may be longer than what it was."""

    def read(self, size: int) -> bytes:
        while not self._left and not self._ended:
            piece = self._source.read(size)
            self._ended = not piece
            text = self._decoder.decode(piece, final=self._ended)
            self._left = text.encode("utf-8", "surrogateescape")
        part, self._left = self._left[:size], self._left[size:]
        return part
