from __future__ import annotations

import msgspec
import pytest
from playing import Dice, containing, like, matching, play

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.events import (
    ExchangeEnded,
    ProvisioningLearned,
    ProvisioningMissed,
    ProvisioningWanted,
    RegistrarAddress,
    RegistrationAbandoned,
    ShutdownRequested,
    SipEndpoint,
    SipMessageReceived,
    SipMessageWanted,
    TimerExpired,
    WebServicesAddress,
)
from phonesim.device.subscription import ProvisioningSubscription
from phonesim.wire.inband_provisioning import (
    CONTENT_TYPE,
    EVENT,
    InbandProvisioning,
    ServiceUrl,
    decode_provisioning_request,
    encode_inband_provisioning,
)
from phonesim.wire.sip import (
    Contact,
    NameAddress,
    SipRequest,
    SipResponse,
    encode_sip,
    header,
    response_to,
)
from phonesim.wire.sip_server import SipServer

TIMER = TimerExpired()
ENDPOINT = SipEndpoint(
    registrar="fe01.contoso.com:5061",
    host="fe01.contoso.com",
    transport="tls",
    local_address="10.0.0.50",
    local_port=50001,
    sip_uri="sip:user00001@contoso.com",
    epid="0123456789",
    instance="34D859DB-6585-5F91-A3B4-DE853C15347D",
    contact="sip:user00001@contoso.com;opaque=user:epid:x;gruu",
)
TOLD = InbandProvisioning(
    registrars=(
        SipServer(host="fe01.contoso.com", port=5061, transport="tls"),
        SipServer(host="fe02.contoso.com", port=5061, transport="tls"),
    ),
    web_services=ServiceUrl(scheme="https", host="pool.contoso.com", port=443, path="/Cert"),
)
BODY = encode_inband_provisioning(TOLD)
LEARNED = ProvisioningLearned(
    registrars=tuple(
        RegistrarAddress(
            host=f"fe0{n}.contoso.com", port=5061, transport="tls", source="inband:fe01.contoso.com"
        )
        for n in (1, 2)
    ),
    web_services=WebServicesAddress(
        scheme="https",
        host="pool.contoso.com",
        port=443,
        path="/Cert",
        source="inband:fe01.contoso.com",
    ),
)
SUBSCRIBES = like(SipMessageWanted, message=like(SipRequest, method="SUBSCRIBE"))


class Desk:
    """A subscription, and what it sent last."""

    def __init__(self, **config):
        config = RegistrationConfig(**config)
        self.machine = ProvisioningSubscription(config, "CPE/4.0", Dice())
        self.sent = None
        self.give(ProvisioningWanted(endpoint=ENDPOINT))

    def give(self, event, now=0.0):
        outputs = self.machine.handle(event, now)
        for item in outputs:
            if isinstance(item, SipMessageWanted):
                encode_sip(item.message)
                if isinstance(item.message, SipRequest):
                    self.sent = item.message
        return [item for item in outputs if not isinstance(item, log.LogRecord)]

    def answer(self, status=200, body=b"", expires=None, **fields):
        response = response_to(
            self.sent, status, "OK" if status == 200 else "No", to_tag="b", expires=expires
        )
        response = msgspec.structs.replace(response, body=body, **fields)
        return SipMessageReceived(connection_id=1, message=response)

    def notify(self, body=BODY, method="NOTIFY", state="active;expires=100"):
        request = SipRequest(
            method=method,
            uri=ENDPOINT.contact,
            vias=("SIP/2.0/TLS 10.0.0.21",),
            sender=NameAddress(uri=ENDPOINT.sip_uri, tag="b"),
            recipient=self.sent.sender,
            call_id=self.sent.call_id,
            cseq=1,
            headers=(("Event", EVENT), ("Subscription-State", state)),
            body=body,
        )
        return SipMessageReceived(connection_id=1, message=request)


def ended(seconds=0.0):
    return ExchangeEnded(kind="sip_subscribe", sent=1, seconds=seconds)


def missed(*fragments):
    return like(ProvisioningMissed, detail=containing(*fragments))


def test_the_subscribe_is_what_these_clients_send():
    sent = Desk(provisioning_groups=("ucPolicy",)).sent
    assert sent.uri == ENDPOINT.sip_uri
    assert sent.sender == NameAddress(uri=ENDPOINT.sip_uri, tag=sent.sender.tag, epid="0123456789")
    assert sent.recipient == NameAddress(uri=ENDPOINT.sip_uri)
    assert sent.contacts == (Contact(uri=ENDPOINT.contact, instance=ENDPOINT.instance),)
    assert sent.expires == 28800
    assert header(sent, "Event") == EVENT
    assert header(sent, "Accept") == CONTENT_TYPE
    assert header(sent, "Content-Type") == CONTENT_TYPE
    assert header(sent, "Proxy-Require") == "ms-benotify"
    assert ("Supported", "ms-piggyback-first-notify") in sent.headers
    assert decode_provisioning_request(sent.body) == ("ucPolicy",)
    assert sent.vias[0].startswith("SIP/2.0/TLS 10.0.0.50:50001;branch=z9hG4bK")


def test_the_200_may_bring_the_content():
    desk = Desk()
    play(
        desk.machine,
        [
            (
                1.0,
                desk.answer(body=BODY, expires=1000),
                [
                    log.SUBSCRIBE_ANSWER(200, "OK", 1, ""),
                    matching(log.PROVISIONING_RECEIVED, method="SUBSCRIBE"),
                    ended(1.0),
                    LEARNED,
                ],
            ),
            (1.0, None, [(901.0, "refresh the provisioning subscription")]),
        ],
    )


@pytest.mark.parametrize("method", ["NOTIFY", "BENOTIFY"])
def test_else_a_notification_brings_it_and_only_notify_is_answered(method):
    desk = Desk()
    assert desk.give(desk.answer(expires=1000), 1.0) == [ended(1.0)]
    assert desk.machine.next_deadline() == (10.0, "give in-band provisioning up")
    answers = [like(SipMessageWanted, message=like(SipResponse, status=200))]
    expected = [*(answers if method == "NOTIFY" else []), LEARNED]
    assert desk.give(desk.notify(method=method), 2.0) == expected
    assert desk.machine.next_deadline() == (902.0, "refresh the provisioning subscription")


def test_what_changes_later_is_learned_too():
    desk = Desk()
    desk.give(desk.answer(body=BODY))
    body = encode_inband_provisioning(InbandProvisioning())
    assert desk.give(desk.notify(body), 50.0)[-1] == like(
        ProvisioningLearned, registrars=(), web_services=None
    )


def test_it_is_refreshed_in_its_dialog():
    desk = Desk()
    first = desk.sent
    desk.give(desk.answer(body=BODY, expires=1000))
    assert desk.give(TIMER, 899.0) == []
    assert desk.give(TIMER, 900.0) == [SUBSCRIBES]
    assert (desk.sent.call_id, desk.sent.cseq) == (first.call_id, 2)
    assert desk.sent.recipient.tag == "b"


def test_what_is_asked_once_is_neither_refreshed_nor_ended():
    desk = Desk(provisioning_expires=0)
    assert desk.sent.expires == 0
    desk.give(desk.answer(body=BODY, expires=0))
    assert desk.machine.next_deadline()[0] == float("inf")
    assert desk.give(ShutdownRequested()) == []


def test_a_refusal_is_told_and_the_end():
    desk = Desk()
    headers = (("ms-diagnostics", '1000;reason="x"'),)
    outputs = desk.give(desk.answer(403, headers=headers), 1.0)
    assert outputs == [ended(1.0), missed("403 No", "1000 x")]
    assert desk.machine.next_deadline() is None


@pytest.mark.parametrize("is_answered", [False, True])
def test_what_does_not_come_is_given_up(is_answered):
    desk = Desk(provisioning_timeout=7)
    if is_answered:
        desk.give(desk.answer())
    assert desk.give(TIMER, 6.9) == []
    expected = [] if is_answered else [ended(None)]
    assert desk.give(TIMER, 7.0) == [*expected, missed("within 7 s")]
    assert desk.machine.next_deadline() is None


@pytest.mark.parametrize("body", [b"<provisionGroupList", b"<x/>", b"\xff"])
def test_what_cannot_be_read_is_missed(body):
    desk = Desk()
    assert desk.give(desk.answer(body=body)) == [ended(), missed("malformed")]


def test_an_empty_notification_is_missed():
    desk = Desk()
    desk.give(desk.answer())
    assert desk.give(desk.notify(b""))[-1] == missed("empty NOTIFY")


def test_a_subscription_that_the_server_ends_is_not_refreshed():
    desk = Desk()
    desk.give(desk.answer(body=BODY))
    desk.give(desk.notify(state="terminated;reason=noresource"))
    assert desk.machine.next_deadline() is None


def test_provisional_and_other_answers_leave_it_waiting():
    desk = Desk()
    assert desk.give(desk.answer(100)) == []
    assert desk.give(desk.answer(cseq=9)) == []
    assert desk.give(desk.answer(body=BODY)) == [ended(), LEARNED]
    assert desk.give(desk.answer(body=BODY)) == []


def test_it_is_ended_at_sign_out():
    desk = Desk()
    desk.give(desk.answer(body=BODY))
    assert desk.give(ShutdownRequested()) == [SUBSCRIBES]
    assert desk.sent.expires == 0
    assert desk.machine.next_deadline() is None


@pytest.mark.parametrize("event", [ShutdownRequested(), RegistrationAbandoned()])
def test_what_is_not_held_yet_ends_without_a_word(event):
    desk = Desk()
    play(desk.machine, [(0.0, event, []), (0.0, None, []), (99.0, TIMER, [])])


def test_its_messages_are_known_by_their_call_id():
    fresh = ProvisioningSubscription(RegistrationConfig(), "x", Dice())
    assert not fresh.expects("")
    desk = Desk()
    assert desk.machine.expects(desk.sent.call_id)
    assert not desk.machine.expects("other")
