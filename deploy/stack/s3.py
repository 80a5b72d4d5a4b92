"""An object store that speaks S3: versitygw over a folder. Built with Go."""

from __future__ import annotations

import http.client
from pathlib import Path

from deploy.stack.artifacts import go_program
from deploy.stack.cluster import Cluster
from deploy.stack.plan import Plan
from deploy.stack.ports import LOOPBACK, free_ports

NAME, VERSION, PORT = "s3", "1.8.0", 17070

ACCESS_KEY, SECRET_KEY, REGION = "dataflow", "dataflow-secret", "us-east-1"
"""Of a server that only this machine reaches."""

BUCKET = "dataflow"
"""Is there from the start."""


class S3(Cluster):
    """One S3 server."""

    def __init__(self, folder: Path) -> None:
        super().__init__([shared_plan(folder, free_ports(1)[0])])


def shared_plan(folder: Path, port: int) -> Plan:
    """Return the server on a port."""
    return Plan(
        name=NAME,
        command=lambda: (
            str(go_program("versitygw", "github.com/versity/versitygw/cmd/versitygw")),
            *("--port", f"{LOOPBACK}:{port}", "posix", f"{folder}/data"),
        ),
        folder=folder,
        address=(LOOPBACK, port),
        is_ready=lambda: _answers(port),
        environment={
            "ROOT_ACCESS_KEY": ACCESS_KEY,
            "ROOT_SECRET_KEY": SECRET_KEY,
            "VGW_REGION": REGION,
        },
        folders=(f"data/{BUCKET}",),
    )


def variables(address: str) -> dict[str, str]:
    """Return the environment with which S3 clients, obstore among them, reach a server."""
    return {
        "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_ALLOW_HTTP": "true",
    }


def _answers(port: int) -> bool:
    """Any answer will do: without a signature it is 403."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status > 0
    except http.client.HTTPException:
        return False
    finally:
        connection.close()
