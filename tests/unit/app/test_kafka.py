"""How the programs reach their Kafka, as far as that can be told without one."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.app.kafka import logs_of
from dataflow.app.settings import Settings
from dataflow.core.errors import Rejected


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"kafka_protocol": "saslTls"}, "kafka_username (DATAFLOW_KAFKA_USERNAME)"),
        ({"kafka_username": "me"}, "kafka_protocol (DATAFLOW_KAFKA_PROTOCOL)"),
        (
            {"kafka_protocol": "tls", "kafka_key_file": "/a.key"},
            "kafka_certificate_file (DATAFLOW_KAFKA_CERTIFICATE_FILE)",
        ),
    ],
)
def test_half_a_login_is_refused_as_a_steps_would_be(given: dict[str, Any], field: str) -> None:
    """Before anything is served; the message says what to set."""
    settings = Settings(kafka_brokers=("127.0.0.1:1",), ingest_log="kafka", **given)
    with pytest.raises(Rejected) as refused:
        logs_of(settings)
    assert refused.value.field == field
