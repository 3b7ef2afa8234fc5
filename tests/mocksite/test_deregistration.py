import random

import pytest

from phonesim.mocksite.bindings import Binding
from phonesim.mocksite.deregistration import deregistration_notify
from phonesim.wire.registration_event import KINDS, deregistration_of
from phonesim.wire.sip import NameAddress, decode_sip, encode_sip, header
from phonesim.wire.sip_server import SipServer, diagnostics_of

FE01 = SipServer(host="fe01.contoso.com", port=5061, transport="tls")
FE02 = SipServer(host="fe02.contoso.com", port=5061, transport="tls")
BINDING = Binding(
    aor="sip:alice@contoso.com",
    instance="34D859DB-6585-5F91-A3B4-DE853C15347D",
    epid="0123456789",
    contact="sip:10.0.0.50:50001;transport=tls;ms-opaque=0123456789",
    gruu="sip:alice@contoso.com;gruu",
    sender=NameAddress(uri="sip:alice@contoso.com", tag="a1", epid="0123456789"),
    call_id="call-1",
    cseq=7,
    connection_id=1,
    expires_at=600.0,
)


def notify(kind, preferred=None):
    return deregistration_notify(BINDING, kind, FE01, "10.0.0.21", preferred, random.Random(1))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_notify_that_can_be_sent(kind):
    sent = notify(kind)
    assert decode_sip(encode_sip(sent)) == sent
    assert deregistration_of(sent) == kind
    assert (sent.uri, sent.recipient, sent.call_id) == (BINDING.contact, BINDING.sender, "call-1")
    assert sent.vias[0].startswith("SIP/2.0/TLS 10.0.0.21:5061;branch=z9hG4bK")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("rejected", "4141 User disabled at fe01.contoso.com"),
        ("deactivated", "4006 User not found in pool. at fe01.contoso.com"),
    ],
)
def test_some_kinds_say_why(kind, told):
    assert diagnostics_of(notify(kind)).text == told


def test_a_preference_is_a_header_of_its_own():
    preferred = header(notify("preferred-registrar-change", FE02), "p-preferred-registrar")
    assert preferred == "<sip:fe02.contoso.com:5061;transport=tls>"
    assert header(notify("unregistered"), "p-preferred-registrar") is None
