"""Commands with ids, sent while everything breaks, and what became of each: the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.fault.cluster.asking import Asking, Document, Reply, Unanswered

PAUSE_S = 0.03
"""Between two commands of one client."""

AGAIN_SHARE = 0.2
"""Of the commands are sent once more although they were answered."""

SPEC: Document = {
    "source": {"sourceType": "generator", "options": {"rows": 1}},
    "sink": {"sinkType": "console"},
}


@dataclass(frozen=True)
class Sent:
    """A command that has been answered."""

    command: str
    pipeline: str
    method: str
    path: str
    body: Document
    reply: Reply


@dataclass
class Ledger:
    """What clients were told, and what was wrong about it."""

    accepted: list[Sent] = field(default_factory=list)
    rejected: list[Sent] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def pipelines(self) -> Sequence[str]:
        """Every pipeline that a command was accepted for."""
        return sorted({sent.pipeline for sent in self.accepted})


class Client:
    """Changes a pipeline of its own, creates others, and asks for what is forbidden."""

    def __init__(self, name: str, asking: Asking, ledger: Ledger) -> None:
        self._name = name
        self._asking = asking
        self._ledger = ledger
        self._sent = 0

    async def work(self, over: asyncio.Event) -> None:
        """Send one command after the other until it is over."""
        await self.send("POST", "/pipelines", {**SPEC, "pipelineId": self._name})
        draw = self._asking.draw
        while not over.is_set():
            chance = draw.random()
            own = f"/pipelines/{self._name}"
            if chance < 0.7:
                labels = {"number": str(self._sent)}
                sent = await self.send("PUT", own, {**SPEC, "labels": labels})
            elif chance < 0.85:
                sent = await self.send("POST", f"{own}/resume", {})
            else:
                sent = await self.send("POST", "/pipelines", SPEC)
            if sent is not None and draw.random() < AGAIN_SHARE:
                await check_again(self._asking, self._ledger, sent)
            await asyncio.sleep(PAUSE_S)

    async def send(self, method: str, path: str, body: Document) -> Sent | None:
        """Send a command; what becomes of it is written down."""
        self._sent += 1
        command = f"{self._name}-{self._sent}"
        return await send(self._asking, self._ledger, command, (method, path, body))


async def send(
    asking: Asking, ledger: Ledger, command: str, what: tuple[str, str, Document]
) -> Sent | None:
    """Send a command under an id, and write down what becomes of it."""
    method, path, body = what
    try:
        reply = await asking.ask(method, path, body, command)
    except Unanswered as error:
        ledger.findings.append(f"a command was never answered: {error}")
        return None
    sent = Sent(command, reply.body.get("pipelineId", ""), method, path, body, reply)
    (ledger.accepted if reply.is_accepted else ledger.rejected).append(sent)
    return sent


async def check_again(asking: Asking, ledger: Ledger, sent: Sent) -> None:
    """Send a command once more: an accepted one gets the same answer."""
    try:
        reply = await asking.ask(sent.method, sent.path, sent.body, sent.command)
    except Unanswered as error:
        ledger.findings.append(f"a command was never answered again: {error}")
        return
    if sent.reply.is_accepted and reply.body != sent.reply.body:
        ledger.findings.append(
            f"{sent.command} was answered {sent.reply.body}, and again {reply.body}"
        )
