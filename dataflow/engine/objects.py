"""The object store that holds what recovery needs and no log does: dead letters and states.

A folder embedded, a bucket in a cluster: nothing that another node would need is on one node's
disk. obstore has one face for both; what differs is how an object becomes durable, and which
errors mean what.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore

from dataflow.core.errors import Code, Corrupted, Unavailable
from dataflow.durable import make_folder, sync_path
from dataflow.engine.object_place import Access, s3_place, said


class Objects:
    """Whole objects by key; a key is a path of plain names.

    An object is there whole or not at all. What a call has returned is durable, and seen by
    every call that begins later, of any process. Errors are ``Unavailable`` with code ``STORAGE``:
    the same call again is right, and does no harm.
    """

    def __init__(self, store: ObjectStore, place: str, root: Path | None = None) -> None:
        self._store = store
        self._place = place
        self._root = root

    @classmethod
    def local(cls, root: Path) -> Objects:
        """Return a store in a folder; what it has taken survives a power cut.

        Raises:
            Unavailable: the folder cannot be made or used.
        """
        try:
            make_folder(root)
            return cls(LocalStore(root), str(root), root)
        except (BaseError, OSError) as error:
            raise Unavailable(f"{root}: {said(error)}", code=Code.STORAGE) from error

    @classmethod
    def bucket(cls, url: str, access: Access) -> Objects:
        """Return a store in a bucket of S3, or what speaks as it does: ``s3://bucket/prefix``.

        Raises:
            Rejected: the address or the access is none.
        """
        return cls(s3_place(url, access), url)

    async def check(self) -> None:
        """Return if the store can be reached, with the rights that reading takes."""
        await self.keys("deadletters/-")

    async def put(self, key: str, payload: bytes) -> None:
        """Keep an object. Writing a key again replaces it."""
        try:
            await obstore.put_async(self._store, key, payload)
            await self._synchronise(key)
        except (BaseError, OSError) as error:
            raise self._unavailable(key, error) from error

    async def create(self, key: str, payload: bytes) -> bool:
        """Keep an object unless there is one; of several who try, one is told that it has."""
        try:
            await obstore.put_async(self._store, key, payload, mode="create")
            await self._synchronise(key)
        except AlreadyExistsError:
            return False
        except (BaseError, OSError) as error:
            raise self._unavailable(key, error) from error
        return True

    async def get(self, key: str) -> bytes:
        """Return an object; raises ``Unavailable`` also if there is none."""
        try:
            response = await obstore.get_async(self._store, key)
            return bytes(await response.bytes_async())
        except (BaseError, OSError) as error:
            raise self._unavailable(key, error) from error

    async def move(self, key: str, to: str) -> None:
        """Give an object another key; does nothing if that has happened already.

        In a bucket it is under both for a moment, and for good after a crash in that: whoever
        moves it again ends that too.

        Raises:
            Corrupted: there is an object under neither.
        """
        try:
            await obstore.rename_async(self._store, key, to)
            await self._synchronise(to)
        except FileNotFoundError:  # of a bucket, too: then listing it says so
            if to not in await self.keys(to.rpartition("/")[0]):
                raise Corrupted(f"object {key!r} was decided and is gone") from None
        except (BaseError, OSError) as error:
            raise self._unavailable(key, error) from error

    async def keys(self, prefix: str) -> Sequence[str]:
        """Return the keys below a prefix, in order."""
        try:
            found = await asyncio.to_thread(
                lambda: [
                    meta["path"] for page in obstore.list(self._store, prefix) for meta in page
                ]
            )
        except (BaseError, OSError) as error:
            raise self._unavailable(prefix, error) from error
        return sorted(found)

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget objects; those that are gone already are no error."""
        if self._root is not None:
            for key in keys:
                await self._delete(key)
        elif keys:
            await self._delete(list(keys))

    async def _delete(self, keys: str | list[str]) -> None:
        """Forget one object, or in a bucket many at once.

        A bucket says nothing of keys that are gone; what is not found there is itself.
        """
        try:
            await obstore.delete_async(self._store, keys)
        except FileNotFoundError as error:
            if self._root is None:
                raise self._unavailable(str(keys), error) from error
        except (BaseError, OSError) as error:
            raise self._unavailable(str(keys), error) from error

    async def _synchronise(self, key: str) -> None:
        if self._root is not None:
            await asyncio.to_thread(_sync, self._root, key)

    def _unavailable(self, key: str, error: Exception) -> Unavailable:
        return Unavailable(f"object {key!r} in {self._place}: {said(error)}", code=Code.STORAGE)


def _sync(root: Path, key: str) -> None:
    """Make an object durable, and every folder on the way: the store may have made them."""
    path = root / key
    for target in (path, *path.parents[: len(Path(key).parts)]):
        sync_path(target)
