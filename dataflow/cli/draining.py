"""Following a node until it owns nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dataflow.cli import printing

if TYPE_CHECKING:
    from dataflow.client import DataFlow

LOOK_EVERY_S = 0.5
"""A shard takes about as long to move."""


async def until_empty(df: DataFlow, node_id: str) -> printing.Document:
    """Tell how many shards are left until there are none, or the node drains no more.

    Returns:
        what the node was then; one that has gone owns nothing.
    """
    import asyncio  # noqa: PLC0415 - 60 ms, and not needed for --help

    told = -1
    while True:
        nodes = {one.node_id: one for one in await df.nodes()}
        if node_id not in nodes:
            return {"shards": 0}
        node = printing.document(nodes[node_id])
        if not node["shards"] or not node["draining"]:
            return node
        if node["shards"] != told:
            told = node["shards"]
            click.echo(f"{node_id}: {told} shards to go", err=True)
        await asyncio.sleep(LOOK_EVERY_S)
