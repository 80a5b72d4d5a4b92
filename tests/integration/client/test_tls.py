"""How the two sides know each other.

``tls/`` holds a certificate authority made for these tests, whose key was thrown away, and a
server's and a client's certificate by it, for ``dataflow.test``, the server's also for 127.0.0.1.
All are valid for 100 years.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from grpc import aio

from dataflow.client import DataFlow, Rejected, Tls, Unreachable
from dataflow.v1.pipeline_pb2_grpc import add_PipelineServiceServicer_to_server
from tests.integration.client.conftest import Served
from tests.integration.client.service import Service

FOLDER = Path(__file__).parent / "tls"
CA, SERVER, SERVER_KEY, CLIENT, CLIENT_KEY = (
    (FOLDER / f"{name}.pem").read_bytes()
    for name in ("ca", "server", "server-key", "client", "client-key")
)
SOON = timedelta(seconds=1)
SPEC = {"source": {"sourceType": "file"}, "sink": {"sinkType": "console"}}


@pytest.fixture
async def mutual() -> AsyncIterator[Served]:
    """Serve with TLS to clients that have a certificate."""
    service = Service()
    server = aio.server()
    add_PipelineServiceServicer_to_server(service, server)
    credentials = grpc.ssl_server_credentials([(SERVER_KEY, SERVER)], CA, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield Served(service, f"127.0.0.1:{port}")
    await server.stop(0)


async def test_both_sides_are_known_by_their_certificates(mutual: Served) -> None:
    """Root, key, certificate and name are each needed, and together enough."""
    tls = Tls(CA, CLIENT_KEY, CLIENT, server_name="dataflow.test")
    async with DataFlow(mutual.address, tls=tls, token="t0ken") as df:
        await df.create(SPEC, pipeline_id="a")
    assert mutual.service.tokens == ["Bearer t0ken"]


@pytest.mark.parametrize(
    "tls",
    [
        None,
        Tls(CA, server_name="dataflow.test"),
        Tls(None, CLIENT_KEY, CLIENT, server_name="dataflow.test"),
        Tls(CA, CLIENT_KEY, CLIENT, server_name="another.test"),
    ],
    ids=["no tls", "no client certificate", "an unknown authority", "another name"],
)
async def test_who_is_not_known_gets_no_answer(mutual: Served, tls: Tls | None) -> None:
    """Every one of the four would else be a hole."""
    async with DataFlow(mutual.address, tls=tls, timeout=SOON) as df:
        with pytest.raises(Unreachable):
            await df.create(SPEC, pipeline_id="a")
    assert mutual.service.pipelines == {}


async def test_the_command_line_takes_the_same_files(mutual: Served) -> None:
    """Its flags reach the connection, each of them."""
    flags = {"--ca": "ca", "--cert": "client", "--key": "client-key"}
    for left_out in (None, "--ca", "pair"):
        given = [
            word
            for flag, name in flags.items()
            if flag != left_out and not (left_out == "pair" and flag != "--ca")
            for word in (flag, str(FOLDER / f"{name}.pem"))
        ]
        script = "from dataflow.cli.main import main; main()"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script, "--server", mutual.address, "--timeout", "2s"),
            *(*given, "get"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == (0 if left_out is None else 3)


@pytest.mark.parametrize("server", ["example.org:50051", "10.0.0.1:50051", "dns:///example.org:1"])
async def test_a_token_is_not_sent_in_the_clear(server: str) -> None:
    """Anybody between could read it."""
    with pytest.raises(Rejected, match="token: a token is sent without TLS to this machine only"):
        DataFlow(server, token="t0ken")


@pytest.mark.parametrize("server", ["localhost:1", "127.0.0.1:1", "[::1]:1", "unix:/run/x"])
async def test_a_token_may_be_sent_within_the_machine(server: str) -> None:
    """Nobody is between."""
    assert DataFlow(server, token="t0ken")._settings.token == "t0ken"


async def test_half_a_pair_is_refused() -> None:
    """A key without its certificate proves nothing."""
    with pytest.raises(Rejected, match="both key and certificate"):
        DataFlow("127.0.0.1:1", tls=Tls(CA, key=CLIENT_KEY))


async def test_no_secret_is_shown() -> None:
    """A traceback or a log shows settings as they represent themselves."""
    tls = Tls(CA, CLIENT_KEY, CLIENT)
    settings = DataFlow("127.0.0.1:1", tls=tls, token="t0ken")._settings
    assert "t0ken" not in repr(settings)
    assert "PRIVATE KEY" not in repr(settings)
