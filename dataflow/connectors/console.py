"""The ``console`` sink: rows as lines on the server's standard output. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from dataflow.connect import Guarantee, Options, Problem, SinkSpec, SinkStep

BATCH_ROWS = 1_000
"""Rows written at once: a terminal shows no more, and a pipe takes them quickly."""


class ConsoleOptions(Options):
    """How rows are shown."""

    format: Literal["json", "csv", "pretty", "table"] = Field(
        default="json",
        description="json: an object a line; csv: a line of names, then the rows; pretty: objects"
        " over several lines; table: aligned columns, values cut at 40 places.",
    )


def _check(step: SinkStep, _: ConsoleOptions) -> Sequence[Problem]:
    if step.connection_string:
        return [Problem("connectionString", "leave it empty; to write to a path, use sink file")]
    return ()


SPEC = SinkSpec(
    name="console",
    summary="Rows as lines on the server's standard output; again after a crash.",
    guarantee=Guarantee.AT_LEAST_ONCE,
    options=ConsoleOptions,
    open="dataflow.connectors.console_sink:open_sink",
    check=_check,
    lanes=True,
)
