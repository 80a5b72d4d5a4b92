"""What a deleted pipeline leaves at the server: the slot and the publication that it made."""

from __future__ import annotations

from dataflow.connect import Context, Rejected, SourceStep, Unavailable
from dataflow.connectors.postgres.session import connected, resolved, server_of
from dataflow.connectors.postgres.source.slots import Slot, slot_of
from dataflow.connectors.postgres.source.spec import PostgresSourceOptions


async def clean(step: SourceStep, options: PostgresSourceOptions, context: Context) -> None:
    """Drop them; what somebody has named stays, for it may be theirs.

    Raises:
        Rejected, Unavailable: they cannot be dropped; with how to do so.
    """
    if options.mode != "changes":
        return
    url = resolved(step.connection_string, context.secret)
    name = slot_of(options, context, url)
    publication = options.publication or name
    drops_slot = not options.slot
    try:
        async with connected(url, f"dataflow cleaning {context.pipeline}"[:63]) as connection:
            slot = Slot(connection, server_of(url), name, publication)
            await slot.remove(drops_slot=drops_slot)
    except (Rejected, Unavailable) as error:
        remedy = f"SELECT pg_drop_replication_slot('{name}'); DROP PUBLICATION \"{publication}\""
        raise Unavailable(f"{error.message}; {remedy}") from error
