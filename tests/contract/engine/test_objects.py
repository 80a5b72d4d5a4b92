"""The object store: one suite over a folder and over a real S3 server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from dataflow.core.errors import Code, Corrupted, Rejected, Unavailable
from dataflow.core.ids import PipelineId, Run
from dataflow.engine import object_place
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.object_place import Access
from dataflow.engine.objects import Objects
from deploy.stack import S3, s3

PIPELINE = PipelineId("p")
LARGE = 12 << 20
"""Sent to a bucket in three pieces."""


def access_to(address: str) -> Access:
    """Return the access to a server of the stack."""
    return Access(f"http://{address}", s3.REGION, s3.ACCESS_KEY, s3.SECRET_KEY)


def bucket(address: str, prefix: str) -> Objects:
    """Return a part of the stack's bucket."""
    return Objects.bucket(f"s3://{s3.BUCKET}/{prefix}", access_to(address))


@pytest.fixture(params=["a folder", "a bucket"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """An empty store."""
    if request.param == "a folder":
        return Objects.local(tmp_path / "objects")
    prefix = f"{tmp_path.parts[-3]}/{tmp_path.parts[-2]}/{tmp_path.name}"
    return bucket(request.getfixturevalue("s3"), prefix)


async def test_what_was_put_is_there(objects: Objects) -> None:
    """Of any size, under the key that it was given."""
    for key, payload in (("a/1", b"x"), ("a/2", b""), ("large", b"y" * LARGE)):
        await objects.put(key, payload)
        assert await objects.get(key) == payload


async def test_a_key_that_is_written_again_has_the_new_object(objects: Objects) -> None:
    """A retry of a put whose answer was lost does no harm."""
    await objects.put("a", b"old")
    await objects.put("a", b"new")
    assert await objects.get("a") == b"new"


async def test_of_many_who_create_one_object_one_has(objects: Objects) -> None:
    """Everybody else is told, and what is there is what that one wrote."""
    tries = [str(number).encode() for number in range(8)]
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(objects.create("one", payload)) for payload in tries]
    (winner,) = [payload for payload, task in zip(tries, made, strict=True) if task.result()]
    assert await objects.get("one") == winner


async def test_what_is_not_there_is_unavailable(objects: Objects) -> None:
    """The decision that names it may be right, and the store may not have it yet."""
    with pytest.raises(Unavailable, match="no/such") as caught:
        await objects.get("no/such")
    assert caught.value.code == Code.STORAGE


async def test_an_object_is_moved_once_however_often_it_is_asked_for(objects: Objects) -> None:
    """A commit that a crash has cut is made again from the beginning."""
    await objects.put("from/1", b"x")
    for _ in range(2):
        await objects.move("from/1", "to/1")
        assert await objects.keys("from") == []
        assert await objects.get("to/1") == b"x"


async def test_an_object_that_is_nowhere_is_a_contradiction(objects: Objects) -> None:
    """It was decided, so it was durable; going on would lose it."""
    await objects.put("to/2", b"another")
    with pytest.raises(Corrupted, match="'from/1' was decided and is gone"):
        await objects.move("from/1", "to/1")


async def test_keys_are_listed_in_order_below_their_prefix_alone(objects: Objects) -> None:
    """More than a page of a bucket has, and no neighbour whose name begins alike."""
    limit = asyncio.Semaphore(64)

    async def put(key: str) -> None:
        async with limit:
            await objects.put(key, b"x")

    wanted = [f"many/{number:05}" for number in range(1_003)]
    async with asyncio.TaskGroup() as tasks:
        for key in [*wanted, "many-others/1", "man"]:
            tasks.create_task(put(key))
    assert await objects.keys("many") == wanted
    assert await objects.keys("nothing") == []
    await objects.delete(wanted)
    assert await objects.keys("many") == []
    assert await objects.keys("many-others") == ["many-others/1"]


async def test_what_is_gone_can_be_deleted_again(objects: Objects) -> None:
    """Whoever cleans up may be the second who does."""
    await objects.put("a", b"x")
    await objects.delete(["a", "b"])
    await objects.delete(["a", "b"])
    await objects.delete([])
    assert await objects.keys("") == []


async def test_dead_letters_are_kept_when_they_are_decided_and_not_before(
    objects: Objects,
) -> None:
    """Whatever keeps them: staged, then seen, and dropped if nobody decides them."""
    letters = DeadLetters(objects, PIPELINE)
    row = {"step": "s", "split": "x", "ordinal": 1, "record": "r", "error": "e", "time": None}
    batch = pa.RecordBatch.from_pylist([row])
    staged = await letters.stage(Run(1), 1, [batch])
    assert await letters.count() == 0
    await letters.commit(staged)
    await letters.commit(staged)
    await letters.stage(Run(1), 2, [batch])
    await letters.sweep(Run(2), staged)
    found, following = await letters.page("", 10)
    assert ([letter.ordinal for letter in found], following) == ([1], "")
    assert await letters.count() == 1


# --- what only a server does ---------------------------------------------------------------------


def calls(objects: Objects) -> list[Callable[[], object]]:
    """Return every way to ask a store for something."""
    return [
        objects.check,
        lambda: objects.put("a", b"x"),
        lambda: objects.create("a", b"x"),
        lambda: objects.get("a"),
        lambda: objects.move("a", "b"),
        lambda: objects.keys("a"),
        lambda: objects.delete(["a"]),
    ]


@pytest.mark.parametrize("call", range(7))
async def test_a_bucket_that_is_not_there_is_said_so(call: int, s3: str) -> None:
    """And never taken for one in which everything is gone already."""
    objects = Objects.bucket("s3://no-such-bucket/x", access_to(s3))
    with pytest.raises(Unavailable, match=r"NoSuchBucket.*make the bucket") as caught:
        await calls(objects)[call]()  # type: ignore[misc]  # each is a coroutine
    assert caught.value.code == Code.STORAGE


@pytest.mark.parametrize("call", range(7))
@pytest.mark.parametrize("wrong", ["access_key_id", "secret_access_key"])
async def test_a_key_that_the_store_refuses_is_said_so_and_not_shown(
    call: int, wrong: str, s3: str
) -> None:
    """Whoever mends it knows what to look at; whoever reads the log does not get it."""
    access = replace(access_to(s3), **{wrong: "not-what-it-should-be"})
    objects = Objects.bucket("s3://dataflow/x", access)
    with pytest.raises(Unavailable, match=f"check s3_{wrong}") as caught:
        await calls(objects)[call]()  # type: ignore[misc]  # each is a coroutine
    assert "not-what-it-should-be" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert access.secret_access_key not in repr(access)


@pytest.mark.parametrize("url", ["s3://", "http://bucket", "s3://me:secret@bucket", "s3://b?x=1"])
def test_what_is_no_address_of_a_bucket_is_refused(url: str) -> None:
    """With the setting that it is in, and without what somebody wrote into it."""
    with pytest.raises(Rejected, match="object_store") as caught:
        Objects.bucket(url, Access())
    assert "secret" not in str(caught.value)


async def test_a_server_that_dies_while_it_is_written_to_has_all_of_an_object_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is told, tries again when the server is back, and what was there before stays."""
    monkeypatch.setattr(object_place, "RETRIES_MAX", 0)
    payload = b"z" * (48 << 20)
    with S3(tmp_path) as server:
        objects = bucket(server.addresses[0], "x")
        await objects.put("before", b"kept")
        async with asyncio.TaskGroup() as tasks:
            putting = tasks.create_task(outcome(objects, payload))
            await asyncio.sleep(0.02)
            server.kill(0)
        server.start(0)
        objects = bucket(server.addresses[0], "x")
        assert await objects.get("before") == b"kept"
        if putting.result() is None:
            assert await objects.get("large") == payload
        else:
            assert putting.result() == Code.STORAGE
            await objects.put("large", payload)
        assert await objects.get("large") == payload
        assert await objects.keys("") == ["before", "large"]


async def outcome(objects: Objects, payload: bytes) -> Code | None:
    """Put an object; return the code of what came of it."""
    try:
        await objects.put("large", payload)
    except Unavailable as error:
        return error.code
    return None


async def test_a_server_that_is_not_there_is_given_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a bound: a run is tried again later, and says meanwhile what it waits for."""
    monkeypatch.setattr(object_place, "RETRIES_MAX", 1)
    with S3(tmp_path) as server:
        objects = bucket(server.addresses[0], "x")
        server.kill(0)
        with pytest.raises(Unavailable, match="error sending request") as caught:
            await objects.put("a", b"x")
    assert caught.value.code == Code.STORAGE
