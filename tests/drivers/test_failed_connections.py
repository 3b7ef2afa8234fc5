"""What a capture is told of connections that failed."""

from __future__ import annotations

import pytest
from captured import Captured
from scapy.layers.inet import TCP

from phonesim.device.actions import OpenConnection
from phonesim.device.outcome import ConnectFailure
from phonesim.drivers.failed_connections import tell_failure


def told(
    failure: ConnectFailure, shown: tuple[bytes, ...] = (), transport: str = "tls"
) -> tuple[list[str], int]:
    """The flags of the segments, and how many messages there are."""
    captured = Captured()
    action = OpenConnection(
        connection_id=4,
        source="10.0.0.7",
        address="10.0.0.1",
        port=5061,
        transport=transport,
        server_name="fe01.contoso.com",
        trust=b"",
        clock=0,
        timeout=5,
    )
    tell_failure(captured.tap, action, failure, shown, "1.0")
    return [str(frame[TCP].flags) for frame in captured.frames()], len(captured.messages())


@pytest.mark.parametrize(
    ("failure", "flags", "messages"),
    [
        (ConnectFailure.REFUSED, ["S", "RA"], 0),
        (ConnectFailure.TIMEOUT, ["S"], 0),
        (ConnectFailure.UNREACHABLE, ["S"], 0),
        (ConnectFailure.TLS_VERSION_REFUSED, ["S", "SA"], 2),
        (ConnectFailure.CERTIFICATE_WILDCARD, [], 0),
        (ConnectFailure.CHAIN_UNUSABLE, [], 0),
    ],
)
def test_without_a_certificate(failure: ConnectFailure, flags: list[str], messages: int) -> None:
    assert told(failure) == (flags, messages)


def test_with_one_there_are_hello_certificates_and_alert() -> None:
    assert told(ConnectFailure.CERTIFICATE_EXPIRED, (b"x",)) == (["S", "SA"], 3)


def test_without_tls_there_is_no_handshake() -> None:
    assert told(ConnectFailure.TLS_FAILED, transport="tcp") == ([], 0)
