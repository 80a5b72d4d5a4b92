"""Lives of the program over some pipelines, each ended by ``kill -9``, and what is seen then."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from deploy.stack.cluster import Cluster
from deploy.stack.ports import LOOPBACK, free_ports
from tests.e2e.programs import Api, Server, api, launch, until
from tests.e2e.test_worker_processes import children

LIFE_S = (0.1, 1.2)
"""From when the server is ready to when it is given more to do."""

BUSY_S = (0.0, 0.5)
"""From then to a death: who has nothing to do dies of nothing. A checkpoint comes after 0.2 s."""

WORK_S = 5.0
"""For which a death waits at most until all that runs has written something."""

STARTING_EVERY = 3
"""In every how-manieth life it does not wait: pipelines die while they begin."""

FINISH_S = 900.0


class Seen(NamedTuple):
    """What an independent reader found at the end of a pipeline."""

    pair: str
    """From what to what."""
    rows: int
    problems: Sequence[str]
    """What is wrong with it."""


class Lived(Protocol):
    """Pipelines that are killed, and what independent readers find."""

    @property
    def folder(self) -> Path:
        """Where the program keeps its state."""
        ...

    def specs(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the pipelines by their ids."""
        ...

    def feed(self, url: str) -> None:
        """Make more to read, before each death, for the program at ``url``."""
        ...

    def is_done(self, shown: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether everything has come to its end, from what the pipelines show."""
        ...

    def endless(self) -> Sequence[str]:
        """Name the pipelines that have to be stopped."""
        ...

    def seen(self) -> Sequence[Seen]:
        """Return what independent readers see now."""
        ...


@dataclass
class Deaths:
    """Who dies, how often, and when."""

    seed: int
    kills: int
    """Of the program; in every other life its worker process dies before it does."""
    servers: Sequence[Cluster] = ()
    """Killed in turn and started again."""
    every: int = 1
    """In every how-manieth life one of the servers is killed."""
    workers: int = 1
    """The processes that the program has in every other life."""
    died: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._moments = random.Random(self.seed)

    def wait(self, between_s: tuple[float, float]) -> None:
        """Let everybody live for a while."""
        time.sleep(self._moments.uniform(*between_s))

    def server_of(self, life: int) -> Cluster | None:
        """Return the server whose turn it is to die, if it is one's."""
        if not self.servers or life % self.every:
            return None
        return self.servers[life // self.every % len(self.servers)]

    def of_server(self, server: Cluster) -> None:
        """Kill a server, and start it again."""
        server.kill()
        self.died[type(server).__name__] += 1
        server.start()

    def of_workers(self, server: Server) -> bool:
        """Kill the worker processes of a program; tells whether it has begun any."""
        found = children(server)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.died["worker"] += 1
        return bool(found)


def live(lived: Lived, deaths: Deaths) -> Sequence[Seen]:
    """Kill the program again and again, let it finish, and return what is seen then."""
    address = f"{LOOPBACK}:{free_ports(1)[0]}"
    for life in range(deaths.kills + 1):
        settings = {
            "DATAFLOW_WORKERS": f"{life % 2 * deaths.workers}",
            "DATAFLOW_HTTP_ADDRESS": address,
        }
        server = launch(lived.folder, settings)
        try:
            until(partial(server.logged, "ready"), "ready")
            server.addresses = server.logged("ready")[0]
            _live(lived, deaths, life, server)
        finally:
            server.kill()
    return lived.seen()


def _live(lived: Lived, deaths: Deaths, life: int, server: Server) -> None:
    """Live once, up to the end of the program or of everything."""
    with api(server) as asked:
        if life == 0:
            for name, spec in lived.specs().items():
                asked.create({"pipelineId": name, "name": name, **spec})
                asked.start(name)
        if life == deaths.kills:
            _finish(lived, asked)
            return
        deaths.wait(LIFE_S)
        if (own := deaths.server_of(life)) is not None:
            _be_busy(lived, deaths, life, asked)
            deaths.of_server(own)
        _be_busy(lived, deaths, life, asked)
        if deaths.of_workers(server):
            _be_busy(lived, deaths, life, asked)
        deaths.died["program"] += 1


def _be_busy(lived: Lived, deaths: Deaths, life: int, asked: Api) -> None:
    """Have everything in the middle of its work, but in some lives still on its way there."""
    url = str(asked.client.base_url).partition("/api/")[0]
    lived.feed(url)
    if life % STARTING_EVERY != STARTING_EVERY - 1:
        before = _written(lived, asked)
        with suppress(AssertionError):  # It has to die some time.
            until(
                lambda: all(now > before[name] for name, now in _written(lived, asked).items()),
                "rows of all",
                WORK_S,
            )
            lived.feed(url)
    deaths.wait(BUSY_S)


def _written(lived: Lived, asked: Api) -> Mapping[str, int]:
    """Return how many rows each pipeline that still runs has written and decided."""
    shown = {name: asked.pipeline(name) for name in lived.specs()}
    return {
        name: int(one["metrics"]["totalRecordsProcessed"])
        for name, one in shown.items()
        if one["status"] == "running"
    }


def problems(seen: Iterable[Seen]) -> Sequence[str]:
    """Return what is wrong at the ends of all pipelines."""
    return [f"{pair}: {problem}" for pair, _, found in seen for problem in found]


def differences(found: Iterable[Hashable], expected: Iterable[Hashable]) -> Sequence[str]:
    """Return what is lost, what is there twice, and what nobody has written."""
    counted, wanted = Counter(found), Counter(expected)
    kinds = {
        "lost": wanted - counted,
        "twice": Counter(one for one, count in counted.items() if count > wanted[one] > 0),
        "made up": Counter(one for one in counted if one not in wanted),
    }
    return [f"{len(ones)} {kind}, {[*ones][:3]}" for kind, ones in kinds.items() if ones]


def _finish(lived: Lived, asked: Api) -> None:
    """Wait until every row has come to the end, then stop what never ends."""

    def done() -> bool:
        shown = [asked.pipeline(name) for name in lived.specs()]
        failed = [one["error"] for one in shown if one["status"] == "failed"]
        assert not failed, failed
        return lived.is_done(shown)

    until(done, "all rows", FINISH_S)
    for name in lived.endless():
        asked.post(f"/pipelines/{name}/stop")
        asked.rested(name)
