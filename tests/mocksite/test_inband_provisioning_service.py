import random

import pytest

from phonesim.config.site_profile import RegistrarConfig
from phonesim.mocksite.homes import HomeBook
from phonesim.mocksite.inband_provisioning_service import (
    MAXIMUM_EXPIRES,
    InbandProvisioningService,
)
from phonesim.mocksite.users import User
from phonesim.wire.inband_provisioning import CONTENT_TYPE, EVENT, decode_inband_provisioning
from phonesim.wire.sip import Contact, NameAddress, SipRequest, decode_sip, encode_sip, header

ALICE = User(sip_uri="sip:alice@contoso.com", number="1", pin="1", password="1")
SERVICE = InbandProvisioningService(
    HomeBook([RegistrarConfig(name="lync01", address="10.0.0.21", fqdn="fe01.contoso.com")]),
    "RTC/4.0",
    random.Random(1),
)


CONTACTS = (Contact(uri="sip:10.0.0.50"),)


def subscribe(*supported, event=EVENT, expires=600, contacts=CONTACTS):
    return SipRequest(
        method="SUBSCRIBE",
        uri=ALICE.sip_uri,
        vias=("SIP/2.0/TLS 10.0.0.50",),
        sender=NameAddress(uri=ALICE.sip_uri, tag="a", epid="0123456789"),
        recipient=NameAddress(uri=ALICE.sip_uri),
        call_id="sub-1",
        cseq=1,
        contacts=contacts,
        expires=expires,
        headers=(("Event", event), *(("Supported", tag) for tag in supported)),
    )


def test_the_200_carries_the_content_for_who_can_take_it_there():
    response, notification = SERVICE.subscribe(
        subscribe("ms-benotify, MS-Piggyback-First-Notify"), ALICE
    )
    assert notification is None
    assert decode_sip(encode_sip(response)) == response
    assert header(response, "Content-Type") == CONTENT_TYPE
    (registrar,) = decode_inband_provisioning(response.body).registrars
    assert registrar.host == "fe01.contoso.com"


@pytest.mark.parametrize(("supported", "method"), [((), "NOTIFY"), (("ms-benotify",), "BENOTIFY")])
def test_a_notification_follows_for_anybody_else(supported, method):
    response, notification = SERVICE.subscribe(subscribe(*supported), ALICE)
    assert response.body == b""
    assert decode_sip(encode_sip(notification)) == notification
    assert (notification.method, notification.uri) == (method, "sip:10.0.0.50")
    assert notification.sender == response.recipient
    assert notification.recipient.epid == "0123456789"
    assert decode_inband_provisioning(notification.body).registrars


@pytest.mark.parametrize(
    ("asked", "granted", "state"),
    [
        (600, 600, "active;expires=600"),
        (10**6, MAXIMUM_EXPIRES, f"active;expires={MAXIMUM_EXPIRES}"),
        (0, 0, "terminated;expires=0"),
        (None, 0, "terminated;expires=0"),
    ],
)
def test_a_subscription_lasts_as_long_as_it_is_granted(asked, granted, state):
    response, notification = SERVICE.subscribe(subscribe(expires=asked), ALICE)
    assert response.expires == granted
    assert header(notification, "Subscription-State") == state


def test_another_event_is_not_served_and_a_missing_contact_no_harm():
    assert SERVICE.subscribe(subscribe(event="presence"), ALICE) is None
    _, notification = SERVICE.subscribe(subscribe(contacts=()), ALICE)
    assert notification.uri == ALICE.sip_uri
