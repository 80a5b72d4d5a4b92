"""An etcd with certificates, users and tokens that are soon forgotten."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import trustme

from dataflow.cluster.coordination.etcd.place import Tls
from deploy.stack.artifacts import go_program
from deploy.stack.cluster import Cluster
from deploy.stack.plan import Plan
from deploy.stack.ports import LOOPBACK, free_ports
from tests.fault.coordination.gateway import ask

PASSWORD, PREFIX = "correct horse", "mine/"
"""Of the user ``node``, and under which it may do everything."""

TOKEN_S = 3
"""How long a token that nobody uses is remembered."""


class Certificates:
    """An authority, and what it has signed, in files and in memory."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        server = authority.issue_cert(LOOPBACK)
        client = authority.issue_cert("client.test")
        self.authority = folder / "authority.pem"
        self.server, self.client = folder / "server.pem", folder / "client.pem"
        authority.cert_pem.write_to_path(self.authority)
        server.private_key_and_cert_chain_pem.write_to_path(self.server)
        client.private_key_and_cert_chain_pem.write_to_path(self.client)
        self.tls = Tls(
            root_certificates=self.authority.read_bytes(),
            key=client.private_key_pem.bytes(),
            certificate=client.cert_chain_pems[0].bytes(),
        )

    def context(self) -> ssl.SSLContext:
        """Return what the gateway is asked with."""
        made = ssl.create_default_context(cafile=str(self.authority))
        made.load_cert_chain(self.client)
        return made


class Secured(Cluster):
    """One member that talks to nobody without a certificate, and tells nothing without a token."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        client, peer = free_ports(2)
        self._tls = certificates.context()
        url, peer_url = f"https://{LOOPBACK}:{client}", f"http://{LOOPBACK}:{peer}"
        flags = {
            "name": "secured",
            "data-dir": f"{folder}/data",
            "listen-client-urls": url,
            "advertise-client-urls": url,
            "listen-peer-urls": peer_url,
            "initial-advertise-peer-urls": peer_url,
            "initial-cluster": f"secured={peer_url}",
            "cert-file": f"{certificates.server}",
            "key-file": f"{certificates.server}",
            "client-cert-auth": "true",
            "trusted-ca-file": f"{certificates.authority}",
            "auth-token-ttl": f"{TOKEN_S}",
            "log-level": "warn",
        }
        plan = Plan(
            name="secured etcd",
            command=lambda: (
                str(go_program("etcd", ".")),
                *(f"--{flag}={value}" for flag, value in flags.items()),
            ),
            folder=folder,
            address=(LOOPBACK, client),
            also_listens=((LOOPBACK, peer),),
            is_ready=self._healthy,
        )
        super().__init__([plan])

    async def admit(self, users: Sequence[str], password: str, prefix: str) -> None:
        """Let users in, ``root`` among them, and the others to the keys under a prefix alone."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        permission = {"permType": "READWRITE", "key": prefix.encode(), "range_end": end.encode()}
        await self._ask("role/add", {"name": "node"})
        await self._ask("role/grant", {"name": "node", "perm": permission})
        for user in users:
            role = "root" if user == "root" else "node"
            await self._ask("user/add", {"name": user, "password": password})
            await self._ask("user/grant", {"user": user, "role": role})
        await self._ask("enable", {})

    async def _ask(self, path: str, body: dict[str, object]) -> None:
        await ask(self.address, f"auth/{path}", body, self._tls)

    def _healthy(self) -> bool:
        url = f"https://{self.address}/health"
        with urllib.request.urlopen(url, timeout=2, context=self._tls) as answer:
            return bool(answer.status == 200)
