"""A broker that wants a login, gives rights, and shows a certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import serialization

from deploy.stack.cluster import Cluster
from deploy.stack.kafka import shared_plan
from deploy.stack.ports import LOOPBACK, free_ports

ANSWER_S = 30.0
LISTENERS = {"SASL": "SASL_PLAINTEXT", "SECURE": "SASL_SSL", "TLS": "SSL"}
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


class Secured(Cluster):
    """One broker. Who comes without a login may do everything; ``plain``'s password is the same."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self.certificate, self.key = folder / "client.pem", folder / "client.key"
        own = authority.issue_cert("client@example.com", common_name="client")
        own.cert_chain_pems[0].write_to_path(self.certificate)
        own.private_key_pem.write_to_path(self.key)
        self.stranger = folder / "stranger.pem"
        trustme.CA().cert_pem.write_to_path(self.stranger)
        broker = authority.issue_cert(LOOPBACK)
        self.ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
        plan = shared_plan(folder / "broker", free_ports(2)[0])
        chain = b"".join(one.bytes() for one in broker.cert_chain_pems)
        pem = (_pkcs8(broker.private_key_pem.bytes()) + chain).decode()
        files = {
            **plan.files,
            "server.properties": _secured(plan.files["server.properties"], self.ports, plan.folder),
            "server.pem": pem,
            "ca.pem": self.ca.read_text(encoding="utf-8"),
        }
        super().__init__([replace(plan, files=files)])

    def at(self, listener: str) -> str:
        """Return where a listener is."""
        return f"{LOOPBACK}:{self.ports[listener]}"

    def allow(self, user: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
        """Give a user rights, and every user of that name with SCRAM."""
        given = [
            AclBinding(
                kind,
                name,
                ResourcePatternType.PREFIXED,
                f"User:{user}",
                "*",
                operation,
                AclPermissionType.ALLOW,
            )
            for operation in operations
        ]
        admin = self._admin()  # it answers for as long as it is held
        for done in admin.create_acls(given).values():
            done.result(ANSWER_S)

    def enrol(self, *users: str) -> None:
        """Have users with SCRAM, whose password is ``<name>-secret``."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted: Sequence[UserScramCredentialUpsertion] = [
            UserScramCredentialUpsertion(user, info, f"{user}-secret".encode()) for user in users
        ]
        admin = self._admin()
        for done in admin.alter_user_scram_credentials(list(wanted)).values():
            done.result(ANSWER_S)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address})


def _pkcs8(pem: bytes) -> bytes:
    """Return a key in the only form that Kafka takes."""
    form, encoding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def _secured(properties: str, ports: dict[str, int], folder: Path) -> str:
    """Return the settings of a broker with more listeners, and rights."""
    more = ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in ports.items())
    protocols = ",".join(f"{name}:{protocol}" for name, protocol in LISTENERS.items())
    lines = []
    for line in properties.splitlines():
        name = line.partition("=")[0]
        if name in {"listeners", "advertised.listeners"}:
            lines.append(f"{line},{more}")
        elif name == "listener.security.protocol.map":
            lines.append(f"{line},{protocols}")
        else:
            lines.append(line)
    settings = {
        "inter.broker.listener.name": "PLAINTEXT",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:plain",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": f"{folder}/server.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": f"{folder}/ca.pem",
        "listener.name.tls.ssl.client.auth": "required",
    }
    for name in ("sasl", "secure"):
        own = f"listener.name.{name}"
        settings |= {
            f"{own}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            f"{own}.plain.sasl.jaas.config": f'{_PLAIN} required user_plain="plain-secret";',
            f"{own}.scram-sha-512.sasl.jaas.config": f"{_SCRAM} required;",
        }
    return "\n".join([*lines, *(f"{name}={value}" for name, value in settings.items())]) + "\n"
