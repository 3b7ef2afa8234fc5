from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playing import Dice

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device.events import RegistrarAddress, SipEndpoint
from phonesim.device.outcome import FailureReason
from phonesim.device.register_messages import (
    RegisterWriter,
    read_acceptance,
    read_redirect,
    refusal_reason,
)
from phonesim.device.registration_failures import ANSWERED, REFUSED
from phonesim.wire.endpoint import epid_for, sip_instance
from phonesim.wire.sip import Contact, decode_sip, encode_sip, response_to
from phonesim.wire.sip_server import Diagnostics

SIP_URI = "sip:user00001@contoso.com"
MAC = bytes.fromhex("0004F2000001")
EPID = epid_for(MAC, SIP_URI)
INSTANCE = sip_instance(EPID)


def writer():
    made = RegisterWriter(RegistrationConfig(), MAC, "CPE/4.0", Dice())
    made.begin_user(SIP_URI)
    made.begin_connection("10.0.0.50", 50001)
    return made


def accepted(*contacts, expires=None, headers=()):
    made = writer()
    response = response_to(
        made.write("tls", 600), 200, "OK", contacts=contacts, expires=expires, headers=headers
    )
    return read_acceptance(response, made, 600)


def test_requests_of_a_dialog_differ_in_cseq_and_branch_alone():
    made = writer()
    first, second = made.write("tls", 600), made.write("tls", 600)
    assert decode_sip(encode_sip(first)).contacts[0].instance == INSTANCE
    assert (first.cseq, second.cseq) == (1, 2)
    assert (first.call_id, first.sender) == (second.call_id, second.sender)
    assert first.vias != second.vias
    made.begin_dialog()
    third = made.write("tls", 0)
    assert (third.cseq, third.expires) == (1, 0)
    assert third.call_id != first.call_id
    assert third.contacts == first.contacts


@pytest.mark.parametrize(
    ("contact", "expires", "gruu"),
    [
        (Contact(uri="sip:x", instance=INSTANCE.lower(), expires=450), 450, ""),
        (
            Contact(uri="sip:x", instance=INSTANCE, expires=1, parameters=(("gruu", "sip:g"),)),
            1,
            "sip:g",
        ),
        (Contact(uri="sip:10.0.0.50:50001;transport=tls", expires=300), 300, ""),
        (Contact(uri="sip:x", instance=INSTANCE), 900, ""),
        (Contact(uri="sip:10.0.0.99:5061", expires=60), 900, ""),
    ],
)
def test_a_200_is_read_by_the_phone_s_own_contact(contact, expires, gruu):
    told = accepted(Contact(uri="sip:other", expires=5), contact, expires=900)
    assert (told.expires, told.gruu) == (expires, gruu)


@pytest.mark.parametrize(
    ("value", "told", "is_survivable"),
    [
        (
            'register-action="added";primary-cluster-type="central";is-connected-to-primary="yes"',
            ("added", "central", "yes", ""),
            False,
        ),
        (
            'register-action="refreshed";primary-cluster-type="remote"'
            ';is-connected-to-primary="no"',
            ("refreshed", "remote", "no", ""),
            True,
        ),
        (
            "register-action=fixed;user-services-state=unavailable",
            ("fixed", "", "", "unavailable"),
            True,
        ),
        ("", ("", "", "", ""), False),
    ],
)
def test_presence_state_is_read(value, told, is_survivable):
    answer = accepted(headers=(("presence-state", value),))
    assert (answer.action, answer.cluster, answer.connected, answer.services) == told
    assert answer.is_survivable is is_survivable


def test_the_rest_of_a_200():
    headers = (
        ("MS-Keep-Alive", "UAS; tcp=no; timeout=300"),
        ("ms-user-logon-data", "RemoteUser"),
        ("Allow-Events", "presence,vnd-microsoft-provisioning-v2"),
    )
    told = accepted(headers=headers)
    assert (told.expires, told.keep_alive_timeout, told.logon) == (600, 300, "RemoteUser")
    assert told.offers_provisioning
    assert not accepted().offers_provisioning
    assert accepted().keep_alive_timeout is None


@given(st.text(), st.text())
def test_any_text_may_stand_in_a_200(first, second):
    accepted(
        headers=(("presence-state", first), ("ms-keep-alive", second), ("Allow-Events", first))
    )


@pytest.mark.parametrize("text", ["a", "a-", ";a", "; ", '";', ";timeout="])
def test_no_text_takes_longer_than_its_length_explains(text):
    told = accepted(headers=(("presence-state", text * 10**6), ("ms-keep-alive", text * 10**6)))
    assert told.keep_alive_timeout is None


def test_a_redirect_names_a_primary_and_perhaps_a_backup():
    uris = ("sip:fe01;transport=tls", "tel:+1", "sip:fe02:5070;transport=tcp")
    contacts = tuple(Contact(uri=uri) for uri in uris)
    response = response_to(writer().write("tls", 600), 301, "Moved", contacts=contacts)
    targets, why = read_redirect(response, "redirect:x")
    assert targets == (
        RegistrarAddress(host="fe01", port=5061, transport="tls", source="redirect:x"),
        RegistrarAddress(host="fe02", port=5070, transport="tcp", source="redirect:x"),
    )
    assert "tel:+1" in why


def test_a_redirect_without_contact_says_so():
    response = response_to(writer().write("tls", 600), 301, "Moved")
    assert read_redirect(response, "x") == ((), "no Contact")


@given(st.integers(300, 699))
def test_every_status_has_a_reason_of_one_that_answered(status):
    assert refusal_reason(status, None) in ANSWERED
    disabled = refusal_reason(status, Diagnostics(id=4141))
    assert disabled is FailureReason.USER_DISABLED
    assert disabled in REFUSED


@pytest.mark.parametrize(
    ("gruu", "contact"),
    [
        ("", "sip:10.0.0.50:50001;transport=tls"),
        ("sip:user00001@contoso.com;opaque=x;gruu", "sip:user00001@contoso.com;opaque=x;gruu"),
    ],
)
def test_an_endpoint_is_reached_by_its_gruu_or_else_by_its_address(gruu, contact):
    registrar = RegistrarAddress(host="fe01", port=5061, transport="tls", source="x")
    assert writer().endpoint(registrar, gruu) == SipEndpoint(
        registrar="fe01:5061",
        host="fe01",
        transport="tls",
        local_address="10.0.0.50",
        local_port=50001,
        sip_uri=SIP_URI,
        epid=EPID,
        instance=INSTANCE,
        contact=contact,
    )
