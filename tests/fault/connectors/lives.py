"""Lives of the program over some pipelines, each ended by ``kill -9``, and what is seen then."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tests.e2e.programs import Api, launch, until

LIFE_S = (0.2, 2.5)
"""From when the server is ready to its end: within the first checkpoints, and beyond."""

FINISH_S = 300.0


class Lived(Protocol):
    """Pipelines that are killed, and what independent readers find."""

    @property
    def folder(self) -> Path:
        """Where the program keeps its state."""
        ...

    def specs(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the pipelines by their ids."""
        ...

    def is_done(self, shown: Sequence[Mapping[str, Any]]) -> bool:
        """Tell whether everything has come to its end, from what the pipelines show."""
        ...

    def endless(self) -> Sequence[str]:
        """Name the pipelines that have to be stopped."""
        ...

    def problems(self) -> Sequence[str]:
        """Return what is wrong with what independent readers see now."""
        ...


def live(lived: Lived, seed: int, kills: int, disturb: Callable[[int], None]) -> Sequence[str]:
    """Kill the program so many times, let it finish, and return what is wrong then.

    Args:
        lived: what it works on.
        seed: of the moments at which it dies.
        kills: how often it dies.
        disturb: called in each life, with its number, before it ends.
    """
    moments = random.Random(seed)
    for life in range(kills + 1):
        server = launch(lived.folder, {"DATAFLOW_WORKERS": f"{life % 2}"})
        until(partial(server.logged, "ready"), "ready")
        server.addresses = server.logged("ready")[0]
        api = Api(server)
        try:
            if life == 0:
                for name, spec in lived.specs().items():
                    api.create({"pipelineId": name, "name": name, **spec})
                    api.start(name)
            if life < kills:
                time.sleep(moments.uniform(*LIFE_S))
                disturb(life)
            else:
                _finish(lived, api)
        finally:
            api.close()
            server.kill()
    return lived.problems()


def _finish(lived: Lived, api: Api) -> None:
    """Wait until every row has come to the end, then stop what never ends."""

    def done() -> bool:
        shown = [api.pipeline(name) for name in lived.specs()]
        failed = [one["error"] for one in shown if one["status"] == "failed"]
        assert not failed, failed
        return lived.is_done(shown)

    until(done, "all rows", FINISH_S)
    for name in lived.endless():
        api.post(f"/pipelines/{name}/stop")
        api.rested(name)
