"""However long garbage comes, a server remembers no more of it than of a little."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Callable

import pytest

from phonesim.config.site_profile import RegistrarConfig, UserRange, WebServicesConfig
from phonesim.mocksite.exchange import (
    ConnectionAccepted,
    ConnectionLost,
    HttpReceived,
    MalformedArrived,
    SipReceived,
)
from phonesim.mocksite.registrar import Registrar
from phonesim.mocksite.users import UserDirectory
from phonesim.mocksite.web_services import WebServices
from phonesim.virtual_authority import VirtualAuthority
from phonesim.wire.cert_provisioning import GetAndPublishCert, KeyProof
from phonesim.wire.http import HttpRequest, WebMessage
from phonesim.wire.message_signature import CertificateSignature, certificate_signed_info
from phonesim.wire.sip import NameAddress, SipRequest, SipResponse, response_to
from phonesim.wire.sipae import Authorization, credentials_of
from phonesim.wire.tls_records import encode_handshake
from phonesim.wire.web_ticket import (
    CertificateCredential,
    PinCredential,
    RequestSecurityToken,
)

EPOCH = 1_767_596_400
ALICE, FQDN = "sip:alice@contoso.com", "fe01.contoso.com"
HELLO = encode_handshake((1, bytes(32)))
ROUNDS = 1500
ALLOWANCE = 100_000  # octets: what caches and pools of Python itself take


def users() -> UserDirectory:
    return UserDirectory([UserRange(sip_uri=ALICE, number="1", pin="24680")])


def request(n: int, method: str = "REGISTER", **fields: object) -> SipRequest:
    values = {
        "vias": ("SIP/2.0/TLS 10.0.0.2:5061",),
        "sender": NameAddress(uri=ALICE, tag=f"t{n}", epid=f"{n:010x}"),
        "recipient": NameAddress(uri=ALICE),
        "call_id": f"call-{n}",
        "cseq": n,
    } | fields
    return SipRequest(method=method, uri="sip:contoso.com", **values)  # type: ignore[arg-type]


def registrar(*schemes: str) -> Callable[[int], None]:
    config = RegistrarConfig.model_validate(
        {"name": "r", "address": "10.0.0.1", "fqdn": FQDN, "authentication": schemes}
    )
    machine = Registrar(config, users(), VirtualAuthority(), random.Random(1), EPOCH)

    def receive(number: int, message: SipRequest | SipResponse, now: float) -> None:
        machine.handle(SipReceived(connection_id=number, message=message), now)

    def play(n: int) -> None:
        now = n * 0.001
        peer = {"peer": "10.0.0.2", "peer_port": n % 60000}
        machine.handle(ConnectionAccepted(connection_id=n, transport="tls", **peer), now)
        for scheme in ("TLS-DSK", "NTLM"):
            started = Authorization(
                scheme=scheme,
                realm=config.realm,
                targetname=FQDN,
                version=4,
                gssapi_data=HELLO if scheme == "TLS-DSK" else b"",
            )
            receive(n, request(n, credentials=(credentials_of(started),)), now)
        receive(n, request(n), now)
        receive(n, request(n, "SUBSCRIBE", headers=(("Event", f"e{n}"),)), now)
        receive(n, request(n, sender=NameAddress(uri=f"sip:u{n}@contoso.com", tag="t")), now)
        receive(n, response_to(request(n, "NOTIFY"), 200, "OK", to_tag="x"), now)
        machine.handle(MalformedArrived(protocol="sip", source=f"{n}", reason="no SIP"), now)
        machine.handle(ConnectionLost(connection_id=n), now)

    return play


def web_services() -> Callable[[int], None]:
    config = WebServicesConfig(name="w", address="10.0.0.1", fqdn="web.contoso.com")
    machine = WebServices(config, users(), VirtualAuthority(), random.Random(1), EPOCH)
    proof = config.cert_prov_rel_path + config.proof_suffix
    url = f"https://web.contoso.com:443{proof}"

    def post(path: str, message: WebMessage, now: float) -> None:
        asked = HttpRequest(
            scheme="https", host="web.contoso.com", port=443, path=path, message=message
        )
        machine.handle(HttpReceived(exchange_id=1, request=asked, peer="p"), now)

    def play(n: int) -> None:
        now = n * 0.001
        clock = int(EPOCH + now)
        signature = CertificateSignature(
            certificate=b"certificate %d" % n,
            signed_info=certificate_signed_info(clock, clock + 300),
            value=b"signature %d" % n,
        )
        for suffix, credential in (
            (config.pin_suffix, PinCredential(number=f"9{n}", pin="0")),
            (config.pin_suffix, PinCredential(number="1", pin=f"{n}")),
            (
                config.certificate_suffix,
                CertificateCredential(created=clock, expires=clock + 300, signature=signature),
            ),
        ):
            asked = RequestSecurityToken(
                context=f"c{n}", applies_to=url, entropy=bytes(32), credential=credential
            )
            post(config.web_ticket_path + suffix, asked, now)
        shown = GetAndPublishCert(
            to=url,
            message_id=f"m{n}",
            device_id=f"d{n}",
            entity="alice@contoso.com",
            csr=b"csr alice@contoso.com",
            request_id=f"r{n}",
            assertion_id=f"a{n}",
            assertion=b"<a>%d</a>" % n,
            created=clock,
            expires=clock + 300,
            proof=KeyProof(b"k"),
        )
        post(proof, shown, now)
        machine.handle(MalformedArrived(protocol="http", source=f"{n}", reason="no HTTP"), now)

    return play


MACHINES = {
    "registrar": lambda: registrar("tls-dsk", "ntlm", "kerberos"),
    "digest registrar": lambda: registrar("digest"),
    "web services": web_services,
}


@pytest.mark.parametrize("name", MACHINES)
def test_garbage_is_forgotten(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phonesim.mocksite.sip_authenticator.MAXIMUM_NONCES", 100)
    play = MACHINES[name]()
    for n in range(1, ROUNDS):
        play(n)
    gc.collect()
    tracemalloc.start()
    for n in range(ROUNDS, 2 * ROUNDS):
        play(n)
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # What was there before is not traced: this is all that the second half has left behind.
    assert grown < ALLOWANCE
