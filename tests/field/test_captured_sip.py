"""The registrations of a phone, as a capture of phonesim's own tells them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from captures import PHONE, SERVER, names, values
from messages import exchanged

from phonesim.wire.registration_event import EVENT, deregistration_body
from phonesim.wire.sip import (
    PING,
    Challenge,
    Contact,
    NameAddress,
    SipRequest,
    encode_sip,
    response_to,
)

CONTACT = Contact(uri=f"sip:{PHONE}:50000")
REGISTER = SipRequest(
    method="REGISTER",
    uri="sip:a.example",
    vias=(f"SIP/2.0/TLS {PHONE}:50000;branch=z9hG4bK1",),
    sender=NameAddress(uri="sip:u@a.example", tag="1"),
    recipient=NameAddress(uri="sip:u@a.example"),
    call_id="c1",
    cseq=1,
    contacts=(CONTACT,),
    expires=600,
)
NAME = f"{SERVER}:5061"
NTLM = Challenge(
    scheme="NTLM", parameters=(("realm", "r"), ("targetname", "fe01"), ("version", "4"))
)


def answer(status: int, reason: str, **fields: object) -> bytes:
    return encode_sip(response_to(REGISTER, status, reason, **fields))  # type: ignore[arg-type]


def told(folder: Path, *octets: bytes, ends_after: float = 0.0) -> list[object]:
    """What is told of messages, every other one of them the phone's."""
    messages = [(float(at), at % 2 == 0, each) for at, each in enumerate(octets)]
    found = exchanged(folder, "sip", 5061, messages, ends_after)
    assert names(found)[:2] == ["registrar_connecting", "registrar_connected"]
    assert values(found, "registrar_connecting") == [(NAME, SERVER, "tls", "")]
    return [(each.name, *each.values.values()) for each in found[2:]]


SENT = ("register_sent", NAME, 1, 600, "")


def test_a_binding(tmp_path: Path) -> None:
    other = Contact(uri="sip:elsewhere", expires=99)
    own = msgspec.structs.replace(CONTACT, expires=300)
    accepted = answer(
        *(200, "OK"),
        contacts=(other, own),
        expires=600,
        headers=(("presence-state", "register-action=added;is-connected-to-primary=yes"),),
    )
    assert told(tmp_path, encode_sip(REGISTER), accepted) == [
        SENT,
        ("registered", NAME, "sip:u@a.example", 300, "added"),
    ]


@pytest.mark.parametrize(
    ("status", "reason", "headers", "text"),
    [
        (404, "Not Found", (), ""),
        (
            403,
            "Forbidden",
            (("ms-diagnostics", '4004;reason="no";source="fe01"'),),
            "4004 no at fe01",
        ),
    ],
)
def test_a_refusal(
    status: int, reason: str, headers: tuple[tuple[str, str], ...], text: str, tmp_path: Path
) -> None:
    refused = answer(status, reason, headers=headers)
    assert told(tmp_path, encode_sip(REGISTER), refused) == [
        SENT,
        ("register_answer", status, reason, 1, text),
    ]


def test_a_redirection(tmp_path: Path) -> None:
    moved = answer(301, "Moved", contacts=(Contact(uri="sip:fe02.a.example:5061"),))
    assert told(tmp_path, encode_sip(REGISTER), moved)[2:] == [
        ("registrar_redirected", NAME, "fe02.a.example:5061")
    ]


def test_a_registrar_that_offers_no_certificates(tmp_path: Path) -> None:
    offers = answer(401, "Unauthorized", challenges=(NTLM,))
    [_, _, failed] = told(tmp_path, encode_sip(REGISTER), offers, ends_after=30)
    assert failed == (
        *("registrar_failed", NAME, "registration-no-common-scheme"),
        "it offers NTLM, the phone wants TLS-DSK",
    )
    again = msgspec.structs.replace(REGISTER, cseq=2)
    gone_on = told(tmp_path, encode_sip(REGISTER), offers, encode_sip(again), ends_after=1)
    assert [each[0] for each in gone_on] == ["register_sent", "register_answer", "register_sent"]  # type: ignore[index]


def test_silence(tmp_path: Path) -> None:
    assert told(tmp_path, encode_sip(REGISTER), ends_after=60)[1:] == [
        ("registrar_failed", NAME, "timeout", f"{NAME}: timeout")
    ]
    assert told(tmp_path, encode_sip(REGISTER), PING, ends_after=3)[1:] == []


def test_what_a_registrar_says_later(tmp_path: Path) -> None:
    notify = msgspec.structs.replace(
        REGISTER,
        method="BENOTIFY",
        contacts=(),
        expires=None,
        headers=(("Event", EVENT),),
        body=deregistration_body("rejected"),
    )
    ended = encode_sip(msgspec.structs.replace(REGISTER, expires=0, cseq=2))
    assert told(tmp_path, PING, encode_sip(notify), ended, answer(200, "OK"))[0] == (
        *("deregistered", NAME, "rejected", ""),
    )


def test_a_subscription_and_what_is_no_sip(tmp_path: Path) -> None:
    subscribe = msgspec.structs.replace(
        REGISTER, method="SUBSCRIBE", headers=(("Event", "vnd-x"),), contacts=()
    )
    refused = encode_sip(response_to(subscribe, 489, "Bad Event"))
    found = told(tmp_path, encode_sip(subscribe), refused, b"garbage")
    assert found[:2] == [
        ("subscribe_sent", NAME, "vnd-x", 1, 600),
        ("subscribe_answer", 489, "Bad Event", 1, ""),
    ]
    assert found[2][:3] == ("malformed", "sip", "phone")  # type: ignore[index]
