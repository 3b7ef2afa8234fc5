from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.errors import DecodeError
from phonesim.wire.sip import NameAddress, SipResponse
from phonesim.wire.sip_server import (
    Diagnostics,
    SipServer,
    diagnostics_of,
    min_expires_of,
    read_server_uri,
    retry_after_of,
)


def answer(*headers: tuple[str, str]) -> SipResponse:
    return SipResponse(
        status=503,
        reason="No",
        vias=("SIP/2.0/TLS 10.0.0.1",),
        sender=NameAddress(uri="sip:a@b"),
        recipient=NameAddress(uri="sip:a@b"),
        call_id="c",
        cseq=1,
        cseq_method="REGISTER",
        headers=headers,
    )


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("sip:192.168.74.5:5061;transport=tls", ("192.168.74.5", 5061, "tls")),
        ("<sip:FE02.contoso.com>", ("fe02.contoso.com", 5061, "tls")),
        ("sip:fe02.contoso.com:5070", ("fe02.contoso.com", 5070, "tls")),
        ("sip:fe02.contoso.com;transport=tcp", ("fe02.contoso.com", 5060, "tcp")),
        ("sips:fe02.contoso.com;transport=tcp", ("fe02.contoso.com", 5061, "tls")),
        ("sip:user@fe02.contoso.com;lr;Transport=TLS;x=y", ("fe02.contoso.com", 5061, "tls")),
    ],
)
def test_a_uri_names_a_server(uri: str, server: tuple[str, int, str]) -> None:
    host, port, transport = server
    assert read_server_uri(uri) == SipServer(host=host, port=port, transport=transport)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "*",
        "http://fe02.contoso.com",
        "sip:",
        "sip:fe02:0",
        "sip:fe02:65536",
        "sip:fe02;transport=udp",
        "sip:[::1]",
        "sip:-fe02",
        "tel:+1425",
    ],
)
def test_anything_else_names_none(uri: str) -> None:
    with pytest.raises(DecodeError):
        read_server_uri(uri)


@given(
    st.from_regex(r"[a-z][a-z0-9.\-]{0,30}[a-z0-9]", fullmatch=True),
    st.integers(1, 65535),
    st.sampled_from(["tls", "tcp"]),
)
def test_a_server_is_read_from_its_own_uri(host: str, port: int, transport: str) -> None:
    server = SipServer(host=host, port=port, transport=transport)
    assert read_server_uri(server.uri) == server


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(DecodeError):
        read_server_uri(text)


@pytest.mark.parametrize(
    ("value", "expected", "told"),
    [
        (
            '4141;reason="User disabled";source="fe01.contoso.com"',
            Diagnostics(id=4141, reason="User disabled", source="fe01.contoso.com"),
            "4141 User disabled at fe01.contoso.com",
        ),
        ("1000", Diagnostics(id=1000), "1000 no reason"),
        (
            ' 17000 ; Reason = "a; b" ;component="x"',
            Diagnostics(id=17000, reason="a; b"),
            "17000 a; b",
        ),
    ],
)
def test_diagnostics_are_read(value: str, expected: Diagnostics, told: str) -> None:
    assert diagnostics_of(answer(("ms-diagnostics", value))) == expected
    assert diagnostics_of(answer(("MS-Diagnostics-Public", value))) == expected
    assert expected.text == told


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5;reason=", "9" * 10, "٣"])
def test_diagnostics_without_an_id_are_none(value: str) -> None:
    assert diagnostics_of(answer(("ms-diagnostics", value))) is None


def test_no_diagnostics_are_none() -> None:
    assert diagnostics_of(answer()) is None


@given(st.text())
def test_any_text_may_stand_in_a_header(text: str) -> None:
    message = answer(("ms-diagnostics", text), ("Retry-After", text), ("Min-Expires", text))
    diagnostics_of(message)
    seconds = retry_after_of(message)
    assert seconds is None or 0 <= seconds < 10**9
    min_expires_of(message)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("120", 120), ("120 (busy)", 120), ("18000;duration=3600", 18000), ("0", 0), ("soon", None)],
)
def test_retry_after_is_seconds(value: str, seconds: int | None) -> None:
    assert retry_after_of(answer(("retry-after", value))) == seconds
