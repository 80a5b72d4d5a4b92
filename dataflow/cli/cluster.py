"""``cluster``: who owns what, and what an operator has done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dataflow.cli import printing
from dataflow.cli.draining import until_empty
from dataflow.cli.failures import REFUSED
from dataflow.cli.options import Settings, shared
from dataflow.cli.session import run

if TYPE_CHECKING:
    from dataflow.client import DataFlow

STATES = ("unowned", "acquiring", "serving", "moving")
NODES = ("NODE", "SHARDS", "WEIGHT", "STATE", "JOINED", "ADDRESS", "REASON")
SHARDS = ("SHARD", "STATE", "OWNER", "FENCE", "SINCE", "PIPELINES", "RUNNING", "PINNED", "MOVE")

NODE = click.argument("node_id", metavar="NODE")
SHARD = click.argument("shard", metavar="SHARD", type=click.IntRange(min=0))


@click.group()
def cluster() -> None:
    """See nodes and shards; empty a node, move a shard."""


@cluster.command()
@shared
@click.pass_obj
def status(settings: Settings) -> None:
    """Show the cluster in a few numbers, as the server that answers sees it."""

    async def ask(df: DataFlow) -> printing.Document:
        return printing.document(await df.cluster())

    found = run(settings, ask)
    if not settings.for_people:
        printing.show(settings.output, found)
        return
    states = found["shardsByState"]
    facts = {
        "nodes": found["nodes"],
        "leader": found["leader"] or "none just now",
        "shards": ", ".join(
            f"{states[state]} {state}" for state in reversed(STATES) if states[state]
        ),
        "answered by": found["answeredBy"] or "a gateway",
        "revision": found["revision"],
    }
    click.echo(found["name"])
    for name, value in facts.items():
        click.echo(f"  {name + ':':<14}{value}")


@cluster.command()
@shared
@click.pass_obj
def nodes(settings: Settings) -> None:
    """List the nodes that are there, with what they own."""

    async def ask(df: DataFlow) -> list[printing.Document]:
        return [printing.document(node) for node in await df.nodes()]

    found = run(settings, ask)
    if settings.for_people:
        printing.table(NODES, map(_node, found))
    else:
        printing.show(settings.output, found)


@cluster.command()
@click.option("--owner", default="", metavar="NODE", help="Only those of this node.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@shared
@click.pass_obj
def shards(settings: Settings, *, owner: str, state: str | None) -> None:
    """List shards: who owns each, since when, and where it is to move."""

    async def ask(df: DataFlow) -> list[printing.Document]:
        return [printing.document(one) async for one in df.shards(owner=owner, state=state or "")]

    found = run(settings, ask)
    if not settings.for_people:
        printing.show(settings.output, found)
    elif found:
        printing.table(SHARDS, map(_shard, found))
    else:
        click.echo("no shards", err=True)


@cluster.command()
@SHARD
@NODE
@shared
@click.pass_obj
def move(settings: Settings, *, shard: int, node_id: str) -> None:
    """Move SHARD to NODE; it stays there while NODE takes shards, until `unpin`."""

    async def ask(df: DataFlow) -> printing.Document:
        return printing.document(await df.move(shard, node_id))

    _told(settings, run(settings, ask), f"shard {shard} goes to {node_id} and stays there")


@cluster.command()
@SHARD
@shared
@click.pass_obj
def unpin(settings: Settings, *, shard: int) -> None:
    """Let SHARD, which was moved by hand, be placed like any other again."""

    async def ask(df: DataFlow) -> printing.Document:
        return printing.document(await df.unpin(shard))

    _told(settings, run(settings, ask), f"shard {shard} is placed like any other")


@cluster.command()
@NODE
@click.option("--reason", default="", help="Why, for those who look at the node.")
@click.option("--wait", is_flag=True, help="Follow until the node owns nothing.")
@shared
@click.pass_obj
def drain(settings: Settings, *, node_id: str, reason: str, wait: bool) -> None:
    """Let NODE hand its shards to the others and take none.

    It lasts until `undrain`, or until the node starts again.
    """

    async def ask(df: DataFlow) -> printing.Document:
        drained = printing.document(await df.drain(node_id, reason=reason))
        if wait:
            drained["node"] |= await until_empty(df, node_id)
        return drained

    drained = run(settings, ask)
    left = drained["node"]["shards"]
    if wait and left:
        click.echo(f"error: {node_id} drains no more: somebody has undrained it", err=True)
        raise click.exceptions.Exit(REFUSED)
    _told(settings, drained, f"{node_id} drains: {left} shards to go")


@cluster.command()
@NODE
@shared
@click.pass_obj
def undrain(settings: Settings, *, node_id: str) -> None:
    """Let NODE take shards again."""

    async def ask(df: DataFlow) -> printing.Document:
        return printing.document(await df.undrain(node_id))

    _told(settings, run(settings, ask), f"{node_id} takes shards")


def _told(settings: Settings, answer: printing.Document, said: str) -> None:
    if settings.for_people:
        click.echo(said if answer["changed"] else f"{said}, as it was")
    else:
        printing.show(settings.output, answer)


def _node(node: printing.Document) -> tuple[object, ...]:
    state = "draining" if node["draining"] else "leader" if node["leader"] else "member"
    return (
        node["nodeId"],
        node["shards"],
        node["weight"],
        state,
        printing.moment(printing.at(node, "joinedAt")),
        node["address"],
        node["reason"],
    )


def _shard(shard: printing.Document) -> tuple[object, ...]:
    known = shard["pipelines"] >= 0
    target = f"to {shard['target']} ({shard['cause']})" if shard["target"] else ""
    return (
        shard["shard"],
        shard["state"],
        shard["owner"],
        shard["fence"] or "",
        printing.moment(printing.at(shard, "since")),
        shard["pipelines"] if known else "",
        shard["running"] if known else "",
        shard["pinned"],
        target,
    )
