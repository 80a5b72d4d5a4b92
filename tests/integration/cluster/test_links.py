"""Links between programs, when the program at the other end goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta

from dataflow.cluster.links.answering import Service, serving
from dataflow.cluster.links.asking import GrpcLinks
from dataflow.v1 import node_pb2 as pb

PATIENCE = timedelta(seconds=10)


class Echo:
    """Answers with what it was asked."""

    async def answer(self, name: str, payload: bytes) -> bytes:
        return payload

    async def follow(self, name: str, payload: bytes) -> AsyncGenerator[bytes, None]:
        yield payload


async def test_nothing_is_left_of_a_link_that_was_lost() -> None:
    """A task that waits for questions for ever is one more with each restart of a node."""
    before = asyncio.all_tasks()
    async with GrpcLinks.open() as links:
        async with serving(Echo(), "127.0.0.1:0") as port:
            address = f"127.0.0.1:{port}"
            assert await links.ask(address, "echo", b"a", PATIENCE) == b"a"
            of_link = asyncio.all_tasks() - before
            assert any("request_iterator" in repr(task) for task in of_link)
        _, left = await asyncio.wait(of_link, timeout=PATIENCE.total_seconds())
        assert left == set()


async def test_an_asker_that_goes_in_the_middle_of_a_reply_leaves_no_error() -> None:
    """The server closes the generator then; an error out of it would be nobody's."""

    async def asked() -> AsyncIterator[pb.LinkRequest]:
        yield pb.LinkRequest(questions=[pb.Question(id=1, name="echo", payload=b"a")])
        await asyncio.Event().wait()

    replies = Service(Echo()).Link(asked(), context=None)  # type: ignore[arg-type]  # unused
    assert (await anext(replies)).replies[0].payload == b"a"
    await replies.aclose()
