"""How the two sides know each other, by certificates made for these tests when they run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
import trustme
from grpc import aio

from dataflow.client import DataFlow, Rejected, Tls, Unreachable
from dataflow.v1.pipeline_pb2_grpc import add_PipelineServiceServicer_to_server
from tests.integration.client.cluster_service import ClusterService
from tests.integration.client.conftest import Served
from tests.integration.client.service import Service

SOON = timedelta(seconds=1)
SPEC = {"source": {"sourceType": "file"}, "sink": {"sinkType": "console"}}


@dataclass(frozen=True)
class Certificates:
    """An authority, and by it a server and a client; both are ``dataflow.test``."""

    ca: bytes
    server: bytes
    server_key: bytes
    client: bytes
    client_key: bytes

    def tls(self, *, server_name: str = "") -> Tls:
        """Return what a client needs to be known and to know the server."""
        return Tls(self.ca, self.client_key, self.client, server_name=server_name)


def issued() -> Certificates:
    """Make keys and certificates; the keys are forgotten with the process."""
    authority = trustme.CA()
    server = authority.issue_cert("dataflow.test", "127.0.0.1")
    client = authority.issue_cert("dataflow.test")
    return Certificates(
        ca=authority.cert_pem.bytes(),
        server=server.cert_chain_pems[0].bytes(),
        server_key=server.private_key_pem.bytes(),
        client=client.cert_chain_pems[0].bytes(),
        client_key=client.private_key_pem.bytes(),
    )


@pytest.fixture(scope="session")
def made() -> Certificates:
    """Return the certificates that server and clients know each other by."""
    return issued()


@pytest.fixture
async def mutual(made: Certificates) -> AsyncIterator[Served]:
    """Serve with TLS to clients that have a certificate."""
    service = Service()
    server = aio.server()
    add_PipelineServiceServicer_to_server(service, server)
    credentials = grpc.ssl_server_credentials(
        [(made.server_key, made.server)], made.ca, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield Served(service, ClusterService(service), f"127.0.0.1:{port}")
    await server.stop(0)


async def test_both_sides_are_known_by_their_certificates(
    mutual: Served, made: Certificates
) -> None:
    """Root, key, certificate and name are each needed, and together enough."""
    tls = made.tls(server_name="dataflow.test")
    async with DataFlow(mutual.address, tls=tls, token="t0ken") as df:
        await df.create(SPEC, pipeline_id="a")
    assert mutual.service.tokens == ["Bearer t0ken"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda _: None,
        lambda made: Tls(made.ca, server_name="dataflow.test"),
        lambda made: replace(made.tls(server_name="dataflow.test"), root_certificates=None),
        lambda made: made.tls(server_name="another.test"),
        lambda made: replace(issued().tls(server_name="dataflow.test"), root_certificates=made.ca),
    ],
    ids=["no tls", "no client certificate", "an unknown authority", "another name", "a stranger"],
)
async def test_who_is_not_known_gets_no_answer(
    mutual: Served, made: Certificates, wrong: Callable[[Certificates], Tls | None]
) -> None:
    """Every one of the five would else be a hole."""
    tls = wrong(made)
    async with DataFlow(mutual.address, tls=tls, timeout=SOON) as df:
        with pytest.raises(Unreachable):
            await df.create(SPEC, pipeline_id="a")
    assert mutual.service.pipelines == {}


async def test_the_command_line_takes_the_same_files(
    mutual: Served, made: Certificates, tmp_path: Path
) -> None:
    """Its flags reach the connection, each of them."""
    flags = {"--ca": made.ca, "--cert": made.client, "--key": made.client_key}
    for flag, pem in flags.items():
        (tmp_path / flag).write_bytes(pem)
    for left_out in (None, "--ca", "pair"):
        given = [
            word
            for flag in flags
            if flag != left_out and not (left_out == "pair" and flag != "--ca")
            for word in (flag, str(tmp_path / flag))
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


async def test_half_a_pair_is_refused(made: Certificates) -> None:
    """A key without its certificate proves nothing."""
    with pytest.raises(Rejected, match="both key and certificate"):
        DataFlow("127.0.0.1:1", tls=Tls(made.ca, key=made.client_key))


async def test_no_secret_is_shown(made: Certificates) -> None:
    """A traceback or a log shows settings as they represent themselves."""
    settings = DataFlow("127.0.0.1:1", tls=made.tls(), token="t0ken")._settings
    assert "t0ken" not in repr(settings)
    assert "PRIVATE KEY" not in repr(settings)
