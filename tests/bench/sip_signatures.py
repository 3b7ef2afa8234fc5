"""What a signed refresh costs a phone: signing, writing, reading and verifying it.

    python tests/bench/sip_signatures.py [COUNT]

Octets go no further than memory: sockets and TLS come on top.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device.events import HandshakeAdvanced, RegistrationWanted, RequestChallenged
from phonesim.device.sip_authentication import SipAuthentication
from phonesim.wire.ntlm import FLAGS, ntlm_keys
from phonesim.wire.sip import NameAddress, SipRequest, decode_sip, encode_sip, response_to
from phonesim.wire.sipae import (
    AUTHENTICATION_INFO,
    AuthenticationInfo,
    Offer,
    SigningKeys,
    authentication_info_text,
    challenge_of,
    signature_buffer,
    signing_keys,
)
from phonesim.wire.tls_records import encode_handshake

REALM, TARGET = "SIP Communications Service", "fe01.contoso.com"
REQUEST = SipRequest(
    method="REGISTER",
    uri="sip:contoso.com",
    vias=("SIP/2.0/TLS 10.0.0.1:5061;branch=z9hG4bK0123456789abcdef",),
    sender=NameAddress(uri="sip:user00001@contoso.com", tag="0123456789", epid="0123456789"),
    recipient=NameAddress(uri="sip:user00001@contoso.com"),
    call_id="0123456789abcdef0123456789abcdef",
    cseq=4,
    expires=600,
    headers=(
        (
            "User-Agent",
            "CPE/4.0.7577.4066 OCPhone/4.0.7577.4066 (Microsoft Lync 2010 Phone Edition)",
        ),
        *(("Supported", tag) for tag in ("gruu-10", "adhoclist", "msrtc-event-categories")),
        ("ms-keep-alive", "UAC;hop-hop=yes"),
        ("Event", "registration"),
    ),
)
FLIGHT = encode_handshake((1, b"flight"))


def associated(keys: SigningKeys) -> SipAuthentication:
    """A phone that has shaken hands, and got these keys."""
    phone = SipAuthentication(RegistrationConfig(), "1", random.Random(1), lambda now: now)
    phone.handle(
        RegistrationWanted(
            registrars=(), sip_uri="sip:a@b", certificate=b"", chain=b"", source="10.0.0.1"
        ),
        0,
    )
    offer = Offer(scheme="TLS-DSK", realm=REALM, targetname=TARGET, version=4)
    going_on = Offer(
        scheme="TLS-DSK",
        realm=REALM,
        targetname=TARGET,
        version=4,
        opaque="01234567",
        gssapi_data=FLIGHT,
    )
    for each in (offer, going_on):
        challenged = response_to(REQUEST, 401, "", challenges=(challenge_of(each),))
        phone.handle(RequestChallenged(response=challenged), 0)
        phone.handle(HandshakeAdvanced(handshake_id=1, flight=FLIGHT), 0)
        phone.authenticate(REQUEST)
    challenged = response_to(REQUEST, 401, "", challenges=(challenge_of(going_on),))
    phone.handle(RequestChallenged(response=challenged), 0)
    phone.handle(HandshakeAdvanced(handshake_id=1, flight=b"", keys=keys, valid_until=1e9), 0)
    return phone


def answer(keys: SigningKeys, snum: int) -> bytes:
    """What the Registrar sends, signed."""
    response = response_to(REQUEST, 200, "OK", to_tag="0" * 32, expires=600)
    buffer = signature_buffer("TLS-DSK", REALM, TARGET, 4, "0A1B2C3D", snum, response)
    info = AuthenticationInfo(
        scheme="TLS-DSK",
        realm=REALM,
        targetname=TARGET,
        version=4,
        opaque="01234567",
        srand="0A1B2C3D",
        snum=snum,
        rspauth=keys.server.sign(buffer),
    )
    headers = ((AUTHENTICATION_INFO, authentication_info_text(info)),)
    return encode_sip(
        response_to(REQUEST, 200, "OK", to_tag="0" * 32, expires=600, headers=headers)
    )


def microseconds(count: int, each: Callable[[int], object]) -> float:
    """The mean CPU time of `count` calls."""
    began = time.process_time()
    for number in range(count):
        each(number)
    return (time.process_time() - began) / count * 1e6


def main(count: int) -> None:
    """Measure each step for each kind of key."""
    print(
        f"us of CPU, {count} times\n{'':10} {'sign':>8} {'encode':>8} {'decode':>8} {'verify':>8}"
    )
    for name, keys in (
        ("TLS-DSK", signing_keys(bytes(128), "sha1")),
        ("NTLM", ntlm_keys(bytes(16), FLAGS)),
    ):
        phone = associated(keys)
        signed = phone.authenticate(REQUEST)
        octets = [answer(keys, number + 1) for number in range(count)]
        responses = [decode_sip(each) for each in octets]
        sign = microseconds(count, lambda _, phone=phone: phone.authenticate(REQUEST))
        encode = microseconds(count, lambda _, signed=signed: encode_sip(signed))
        decode = microseconds(count, lambda number, octets=octets: decode_sip(octets[number]))

        def verify(number: int, phone=phone, responses=responses) -> None:
            assert phone.refusal(responses[number]) is None

        took = microseconds(count, verify)
        print(f"{name:10} {sign:8.1f} {encode:8.1f} {decode:8.1f} {took:8.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
