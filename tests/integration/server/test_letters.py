"""Dead letters over HTTP: why they are there, replayed, purged."""

from __future__ import annotations

import httpx
import pytest

from dataflow.server.backend import Patch, ReplayLetters, Setting, Wanted
from tests.integration.server.conftest import Server

V1 = "/api/v1/pipelines"


async def test_causes_are_listed(http: httpx.AsyncClient, pipeline: str) -> None:
    """The first thing to look at, where there are thousands of letters."""
    answer = (await http.get(f"{V1}/{pipeline}/deadletters/causes")).json()
    cause = {"step": "t1", "error": "no '…'", "letters": 3, "example": "0"}
    assert answer == {"causes": [cause]}


async def test_a_replay_is_asked_for_by_its_command_id(
    http: httpx.AsyncClient, pipeline: str, server: Server
) -> None:
    """A retry of the same request finds the first one's replay, and the answer says when."""
    body = {"step": "t1", "error": "no", "set": {"b": "2", "a": "1"}, "commandId": "c1"}
    answer = (await http.post(f"{V1}/{pipeline}/deadletters/replay", json=body)).json()
    assert (answer["replayId"], answer["letters"]) == ("r", 3)
    assert answer["message"] == "start or resume the pipeline: that replays them"
    patch = Patch((Setting("a", "1"), Setting("b", "2")))
    assert server.backend.replays == [ReplayLetters("c1", Wanted(step="t1", error="no"), patch)]


@pytest.mark.parametrize("body", [{}, {"all": True, "step": "t1"}])
@pytest.mark.parametrize("verb", ["replay", "purge"])
async def test_that_all_letters_are_meant_has_to_be_said(
    verb: str, body: dict[str, object], http: httpx.AsyncClient, pipeline: str
) -> None:
    """A filter that was forgotten would purge everything."""
    answer = await http.post(f"{V1}/{pipeline}/deadletters/{verb}", json=body)
    assert answer.status_code == 400
    assert "all: true" in answer.json()["message"]


async def test_letters_are_purged(http: httpx.AsyncClient, pipeline: str, server: Server) -> None:
    """Those that are named, and no others."""
    answer = await http.post(f"{V1}/{pipeline}/deadletters/purge", json={"ids": ["1"]})
    assert answer.json()["letters"] == 3
    assert server.backend.purged == [Wanted(ids=("1",))]
