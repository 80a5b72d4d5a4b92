"""The object store that holds what recovery needs and no log does: dead letters and states.

A folder here; the library behind it, obstore, has the same face for other kinds of store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore

from dataflow.core.errors import Code, Corrupted, Unavailable
from dataflow.durable import make_folder, sync_path


class Objects:
    """Whole objects by key; a key is a path of plain names."""

    def __init__(self, store: ObjectStore, root: Path | None) -> None:
        self._store = store
        self._root = root

    @classmethod
    def local(cls, root: Path) -> Objects:
        """Return a store in a folder; what it has taken survives a power cut.

        Raises:
            Unavailable: the folder cannot be made or used.
        """
        try:
            make_folder(root)
            return cls(LocalStore(root), root)
        except (BaseError, OSError) as error:
            raise Unavailable(f"{root}: {error}", code=Code.STORAGE) from error

    async def put(self, key: str, payload: bytes) -> None:
        """Keep an object; durable on return. Writing a key again replaces it."""
        try:
            await obstore.put_async(self._store, key, payload)
            if self._root is not None:
                await asyncio.to_thread(_sync, self._root, key)
        except (BaseError, OSError) as error:
            raise _unavailable(key, error) from error

    async def get(self, key: str) -> bytes:
        """Return an object; raises ``Unavailable`` also if there is none."""
        try:
            response = await obstore.get_async(self._store, key)
            return bytes(await response.bytes_async())
        except (BaseError, OSError) as error:
            raise _unavailable(key, error) from error

    async def move(self, key: str, to: str) -> None:
        """Give an object another key; does nothing if that has happened already.

        Raises:
            Corrupted: there is an object under neither.
        """
        try:
            await obstore.rename_async(self._store, key, to)
            if self._root is not None:
                await asyncio.to_thread(_sync, self._root, to)
        except FileNotFoundError:
            if to not in await self.keys(to.rpartition("/")[0]):
                raise Corrupted(f"object {key!r} was decided and is gone") from None
        except (BaseError, OSError) as error:
            raise _unavailable(key, error) from error

    async def keys(self, prefix: str) -> Sequence[str]:
        """Return the keys below a prefix, in order."""
        try:
            found = await asyncio.to_thread(
                lambda: [
                    meta["path"] for page in obstore.list(self._store, prefix) for meta in page
                ]
            )
        except (BaseError, OSError) as error:
            raise _unavailable(prefix, error) from error
        return sorted(found)

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget objects; those that are gone already are no error."""
        for key in keys:
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                continue
            except (BaseError, OSError) as error:
                raise _unavailable(key, error) from error


def _sync(root: Path, key: str) -> None:
    """Make an object durable, and every folder on the way: the store may have made them."""
    path = root / key
    for target in (path, *path.parents[: len(Path(key).parts)]):
        sync_path(target)


def _unavailable(key: str, error: Exception) -> Unavailable:
    return Unavailable(f"object {key!r}: {error}", code=Code.STORAGE)
