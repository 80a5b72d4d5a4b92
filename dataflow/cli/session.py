"""One command's connection to the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import click

from dataflow.cli.failures import INTERRUPTED
from dataflow.cli.options import Settings, read

if TYPE_CHECKING:
    from dataflow.client import DataFlow

T = TypeVar("T")

CONTACT = timedelta(seconds=3)
"""Whoever sits at a terminal wants to know soon that no server is there; one that was reached and
went away is worth the whole timeout."""


def run(settings: Settings, work: Callable[[DataFlow], Awaitable[T]]) -> T:
    """Connect, do the work, disconnect; Ctrl-C ends it and leaves the pipelines as they are."""
    import asyncio  # noqa: PLC0415 - 60 ms, and not needed for --help

    from dataflow.client import DataFlow, Tls  # noqa: PLC0415 - gRPC is not needed for --help

    async def connected() -> T:
        tls = None
        if settings.ca or settings.cert:
            tls = Tls(read(settings.ca), read(settings.key), read(settings.cert))
        async with DataFlow(
            settings.server,
            timeout=settings.timeout,
            connect_timeout=min(CONTACT, settings.timeout),
            tls=tls,
            token=settings.token,
        ) as df:
            return await work(df)

    try:
        return asyncio.run(connected())
    except KeyboardInterrupt:
        click.echo("interrupted; the pipelines are as they were", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
