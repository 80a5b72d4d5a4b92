"""What is refused before anything is connected."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dataflow.cluster.coordination.etcd.place import Login, Place, Tls
from dataflow.core.errors import Rejected


@pytest.mark.parametrize(
    "endpoints",
    [[], [""], ["etcd"], ["etcd:"], ["http://etcd:2379"], ["a:1", "b"], ["::1:2379"], ["a b:1"]],
)
def test_an_endpoint_is_a_host_and_a_port(endpoints: Sequence[str]) -> None:
    """GRPC would take anything, and then never connect."""
    with pytest.raises(Rejected) as failure:
        Place(endpoints)
    assert failure.value.field == "endpoints"


@pytest.mark.parametrize("endpoint", ["etcd:2379", "10.0.0.1:2379", "[::1]:2379", "a.b-c.d:1"])
def test_endpoints_as_they_are_written(endpoint: str) -> None:
    """Names, and addresses of either kind."""
    assert Place([endpoint]).endpoints == [endpoint]


@pytest.mark.parametrize(
    ("endpoint", "allowed"),
    [("localhost:1", True), ("127.0.0.2:1", True), ("[::1]:1", True), ("10.0.0.1:1", False)],
)
def test_a_password_goes_in_the_open_nowhere_but_on_this_machine(
    endpoint: str, *, allowed: bool
) -> None:
    """Whoever is between could read it, and own every shard."""
    login = Login("node", "secret")
    Place([endpoint], tls=Tls(), login=login)
    if allowed:
        Place([endpoint], login=login)
    else:
        with pytest.raises(Rejected):
            Place([endpoint], login=login)


def test_a_key_without_its_certificate_is_refused() -> None:
    """And the other way round."""
    for tls in (Tls(key=b"key"), Tls(certificate=b"certificate")):
        with pytest.raises(Rejected):
            Place(["etcd:1"], tls=tls)


def test_secrets_are_in_no_representation() -> None:
    """A place is logged when a node starts."""
    place = Place(["etcd:1"], Tls(key=b"secret", certificate=b""), Login("node", "secret"))
    assert "secret" not in repr(place)
