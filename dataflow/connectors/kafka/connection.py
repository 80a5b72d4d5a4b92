"""Where the brokers are and how they are reached, as people write it. Imports no driver."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from dataflow.connect import Context, Model, Problem, Rejected

_BROKER = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:/,@\[\]]+):(\d{1,5})")
_BROKERS = "write the brokers as host:port, with commas between them"

_PROTOCOLS = {
    "plaintext": "plaintext",
    "tls": "ssl",
    "saslPlaintext": "sasl_plaintext",
    "saslTls": "sasl_ssl",
}


class Security(Model):
    """How a client shows who it is, and how it knows the brokers."""

    protocol: Literal["plaintext", "tls", "saslPlaintext", "saslTls"] = Field(
        default="plaintext", description="tls and saslTls check the brokers' certificates."
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="With saslPlaintext and saslTls."
    )
    username: str = Field(default="", description="May be a reference such as ${env:NAME}.")
    password: str = Field(default="", description="Use a reference: ${env:NAME}, ${file:/path}.")
    ca_file: str = Field(default="", description="Certificates to trust; by default the system's.")
    certificate_file: str = Field(default="", description="Of this client, with keyFile.")
    key_file: str = Field(default="", description="Of this client, with certificateFile.")


def security_problems(given: Security) -> Sequence[Problem]:
    """Return what is wrong with settings that each look right alone."""
    problems = []
    has_login, is_sasl = bool(given.username or given.password), given.protocol.startswith("sasl")
    if is_sasl and not (given.username and given.password):
        problems.append(Problem("options.security.username", "missing, or the password is"))
    if has_login and not is_sasl:
        message = "a login is sent with saslTls or saslPlaintext only"
        problems.append(Problem("options.security.protocol", message))
    if bool(given.certificate_file) != bool(given.key_file):
        message = "a certificate and its key come together"
        problems.append(Problem("options.security.certificateFile", message))
    return problems


def brokers_problem(connection: str) -> str:
    """Return what is wrong with a connection string, or nothing."""
    if not connection.strip():
        return f"missing; {_BROKERS}"
    if "${" in connection:
        return ""  # known where it is used
    known = all(_BROKER.fullmatch(one.strip()) for one in connection.split(","))
    return "" if known else _BROKERS


def settings(connection: str, security: Security, context: Context) -> dict[str, str]:
    """Return a client's settings, by librdkafka's names.

    Raises:
        Rejected: the connection string names no brokers.
    """
    brokers = context.secret(connection)
    if problem := brokers_problem(brokers):
        raise Rejected(problem, field="connectionString")
    given = {
        "bootstrap.servers": brokers,
        "client.id": f"dataflow.{context.pipeline}.{context.step}",
        "security.protocol": _PROTOCOLS[security.protocol],
    }
    if security.protocol.startswith("sasl"):
        given["sasl.mechanism"] = security.mechanism
        given["sasl.username"] = context.secret(security.username)
        given["sasl.password"] = context.secret(security.password)
    files = {
        "ssl.ca.location": security.ca_file,
        "ssl.certificate.location": security.certificate_file,
        "ssl.key.location": security.key_file,
    }
    return given | {name: str(context.path(file)) for name, file in files.items() if file}
