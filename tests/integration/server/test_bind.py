"""Addresses: what may be bound, and what is said where it can't."""

from __future__ import annotations

import pytest

from dataflow.core.errors import Rejected, Unavailable
from dataflow.server.bind import Address, address, listen


@pytest.mark.parametrize("text", ["127.0.0.1:80", "localhost:80", "[::1]:80", "127.9.9.9:0"])
def test_this_machine_may_be_served_without_encryption(text: str) -> None:
    """Nobody else can reach it."""
    assert str(address(text, "S", insecure_bind=False)) == text


@pytest.mark.parametrize("text", ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "example.org:80"])
def test_other_machines_are_served_only_in_so_many_words(text: str) -> None:
    """Passwords and records would pass in the clear."""
    with pytest.raises(Rejected, match="insecure_bind") as caught:
        address(text, "DATAFLOW_HTTP_ADDRESS", insecure_bind=False)
    assert caught.value.field == "DATAFLOW_HTTP_ADDRESS"
    assert str(address(text, "S", insecure_bind=True)) == text


@pytest.mark.parametrize(
    "text",
    ["", ":80", "localhost", "localhost:x", "localhost:99999", "http://a:80", "a:1/"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """With the form that is wanted."""
    with pytest.raises(Rejected, match="give host:port"):
        address(text, "S", insecure_bind=True)


def test_a_port_in_use_is_named_with_its_setting() -> None:
    """So that one knows what to change."""
    with listen(Address("127.0.0.1", 0, "S")) as bound:
        port = bound.getsockname()[1]
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port} is in use") as caught:
            listen(Address("127.0.0.1", port, "DATAFLOW_HTTP_ADDRESS"))
    assert caught.value.field == "DATAFLOW_HTTP_ADDRESS"


def test_an_address_of_another_machine_cannot_be_bound() -> None:
    """It is the operating system that says so."""
    with pytest.raises(Rejected, match="cannot be bound"):
        listen(Address("192.0.2.1", 0, "S"))
