"""Who does the work on rows, as the settings say: this process, or worker processes."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import structlog

from dataflow.app.settings import Settings
from dataflow.engine.ingest import FileLogs, IngestLogs
from dataflow.engine.processes.followed import answer_log
from dataflow.engine.processes.messages import CutLog, Done, FollowLog, LogView, Question
from dataflow.engine.processes.pool import Processes
from dataflow.engine.processes.process import Node, Program
from dataflow.engine.worker import Surroundings
from dataflow.engine.workers import Inline, Workers

log = structlog.get_logger()

COMMAND = (sys.executable, "-m", "dataflow.app.worker")

LEVELS = logging.getLevelNamesMapping()


@asynccontextmanager
async def open_workers(
    settings: Settings,
    here: Surroundings,
    ingest: IngestLogs,
    command: Sequence[str] = COMMAND,
) -> AsyncGenerator[Workers, None]:
    """Return the workers of a node; on leaving, whatever still runs is dropped where it stands.

    Args:
        settings: of the node; its processes get the same.
        here: what a worker in this process needs; a process makes its own.
        ingest: the logs that the node keeps.
        command: begins a worker process.
    """
    if not settings.workers:
        async with Inline.open(here) as inline:
            yield inline
        return
    program = Program(command, settings.told())
    node = Node(here.send, partial(_answer, ingest), say)
    async with Processes.open(program, settings.workers, node) as processes:
        ingest.parse_by(processes.parse)
        yield processes


async def _answer(ingest: IngestLogs, question: Question) -> LogView | Done:
    if not isinstance(question, FollowLog | CutLog):
        raise TypeError(f"{type(question).__name__} is asked of a worker")
    if not isinstance(ingest, FileLogs):
        raise TypeError("only a log of files is read through its node")
    return await answer_log(ingest, question)


def say(number: int, line: str) -> None:
    """Say in this process's log what a worker process has written: its own log, or anything."""
    try:
        told = json.loads(line)
        level, event = LEVELS[told.pop("level").upper()], told.pop("event")
        told.pop("timestamp", None)
    except (ValueError, KeyError, AttributeError):
        log.warning(line, worker=number)
    else:
        log.log(level, event, **{**told, "worker": number})
