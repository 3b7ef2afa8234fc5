from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.wire.registration_event import KINDS, deregistration_body, deregistration_of
from phonesim.wire.sip import NameAddress, SipRequest


def notify(body: bytes, method: str = "NOTIFY", event: str = "registration-notify") -> SipRequest:
    return SipRequest(
        method=method,
        uri="sip:10.0.0.1",
        vias=("SIP/2.0/TLS 10.0.0.2",),
        sender=NameAddress(uri="sip:a@b"),
        recipient=NameAddress(uri="sip:a@b"),
        call_id="c",
        cseq=1,
        headers=(("event", event),),
        body=body,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["NOTIFY", "BENOTIFY"])
def test_every_kind_is_read(kind: str, method: str) -> None:
    assert deregistration_of(notify(deregistration_body(kind), method)) == kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"deregistered;event=unregistered", "unregistered"),
        (b"\r\nDeregistered ; Event=Rejected\r\nmore", "rejected"),
        (b"deregistered;event=shutdown", "shutdown"),
        (b"deregistered", None),
        (b"", None),
    ],
)
def test_the_body_is_read_kindly(body: bytes, kind: str | None) -> None:
    assert deregistration_of(notify(body)) == kind


def test_other_requests_deregister_nobody() -> None:
    body = deregistration_body("rejected")
    assert deregistration_of(notify(body, "MESSAGE")) is None
    assert deregistration_of(notify(body, event="presence")) is None


@given(st.binary(), st.text())
def test_any_octets_are_read_or_passed_over(body: bytes, event: str) -> None:
    deregistration_of(notify(body, event=event))
    deregistration_of(notify(body))
