"""A phone stands whatever its world does to it.

The world of these tests answers what the phone asks for, or does not; answers wrongly, twice,
late, or what was never asked. Whatever it does, no event makes the phone raise, every message
it sends can be written, every log line read back, time never stands still for it, and when it
is asked to shut down it comes to its end.
"""

from __future__ import annotations

import base64
import enum
import random
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonesim.device import actions as do
from phonesim.device import events as on
from phonesim.device.device_log import Dialect
from phonesim.device.http_authentication import WindowsCredentials
from phonesim.device.identity import IDENTITY_FILE, KEY_FILE
from phonesim.device.outcome import ConnectFailure
from phonesim.device.phone import Phone
from phonesim.profiles import DEVICE, load
from phonesim.wire.cert_provisioning import (
    GetAndPublishCert,
    GetAndPublishCertResponse,
    GetRootCertChains,
    GetRootCertChainsResponse,
)
from phonesim.wire.dhcp import (
    BOOTREPLY,
    DhcpMessage,
    MessageType,
    encode_addresses,
    encode_dhcp,
    encode_u32,
)
from phonesim.wire.dns import DnsRecord, DnsResponse, SrvData, encode_query
from phonesim.wire.http import HttpRequest, HttpResponse, encode_body
from phonesim.wire.http_token import HttpToken
from phonesim.wire.inband_provisioning import InbandProvisioning, encode_inband_provisioning
from phonesim.wire.lldp import LldpUnit, NetworkPolicy, encode_lldp
from phonesim.wire.ntlm import (
    HTTP_FLAGS,
    NtlmChallenge,
    encode_challenge,
    name_of_message,
    target_info,
)
from phonesim.wire.ntp import SERVER, NtpPacket, encode_ntp, from_unix
from phonesim.wire.provisioning import UcOptions, encode_sip_servers, encode_uc_options
from phonesim.wire.registration_event import KINDS, deregistration_body
from phonesim.wire.sip import (
    Challenge,
    NameAddress,
    SipRequest,
    SipResponse,
    encode_sip,
    response_to,
)
from phonesim.wire.sip_server import SipServer
from phonesim.wire.sipae import signing_keys
from phonesim.wire.soap_envelope import SoapFault
from phonesim.wire.tls_records import encode_handshake
from phonesim.wire.web_services_metadata import (
    CERTIFICATE_PORT,
    NEGOTIATE_PORT,
    NTLM_PORT,
    PIN_PORT,
    PROOF_PORT,
    GetMetadata,
    ServiceMetadata,
    ServicePort,
)
from phonesim.wire.web_ticket import RequestSecurityToken, RequestSecurityTokenResponse

PROFILE = load(DEVICE, "polycom-cx600")
DIALECT = Dialect(PROFILE.log.records)
MAC = bytes.fromhex("0004F2000001")
DHCP, DNS, NTP, WEB = "10.0.0.1", "10.0.0.3", "10.0.0.5", "10.0.0.20"
EPOCH = 1767596400.0

FLIGHT = encode_handshake((1, b"a flight"))
KEYS = signing_keys(bytes(128), "sha1")

SIGN_IN_OPTIONS = {
    43: encode_uc_options(
        UcOptions(
            uc_identifier="MS-UC-Client",
            url_scheme="https",
            web_server_fqdn="webpool.contoso.com",
            web_server_port=443,
            cert_prov_rel_path="/CertProv/CertProvisioningService.svc",
        )
    ),
    120: encode_sip_servers(["fe01.contoso.com", "fe02.contoso.com"]),
}
LEASE_OPTIONS = {
    1: encode_addresses(("255.255.0.0",)),
    3: encode_addresses(("10.0.0.254",)),
    6: encode_addresses((DNS,)),
    15: b"contoso.com",
    42: encode_addresses((NTP,)),
    51: encode_u32(3600),
}


PROVISIONING = encode_inband_provisioning(
    InbandProvisioning(
        registrars=tuple(
            SipServer(host=host, port=5061, transport="tls")
            for host in ("fe02.contoso.com", "fe01.contoso.com")
        )
    )
)


# --- right answers ---


def answer(request: do.PhoneAction, now: float) -> on.Event | None:
    """What a healthy site says to an action; None where nothing is said."""
    match request:
        case do.AdvertiseLldp(unit=unit):
            return hear_switch(NetworkPolicy()) if unit.ttl else None
        case do.SendDhcp(message=message):
            return answer_dhcp(message)
        case do.ProbeAddress(address=address):
            return on.AddressProbed(address=address)
        case do.SendDns():
            return answer_dns(request)
        case do.SendNtp(packet=packet, server=server):
            time = from_unix(EPOCH + now)
            told = NtpPacket(
                mode=SERVER, stratum=2, originate=packet.transmit, receive=time, transmit=time
            )
            return on.NtpPacketReceived(packet=told, server=server)
        case do.SendHttp(exchange_id=number, request=asked):
            response = answer_http(asked)
            return on.HttpResponseReceived(exchange_id=number, response=response)
        case do.MakeCertificateRequest(subject=subject):
            return on.CertificateRequestMade(subject=subject, csr=b"a request")
        case do.CheckCertificate(certificate=certificate):
            return on.CertificateChecked(certificate=certificate, problem="")
        case do.SignWithKey(data=data):
            return on.DataSigned(data=data, signature=b"a signature")
        case do.OpenConnection(connection_id=number, source=source):
            return on.ConnectionOpened(
                connection_id=number, local_address=source, local_port=50000 + number % 1000
            )
        case do.SendSip(connection_id=number, message=register):
            contacts = tuple(
                msgspec.structs.replace(contact, expires=600) for contact in register.contacts
            )
            if not isinstance(register, SipRequest):
                return None
            headers = (
                ("ms-keep-alive", "UAS; tcp=no; hop-hop=yes; timeout=300"),
                ("Allow-Events", "vnd-microsoft-provisioning-v2"),
            )
            accepted = response_to(register, 200, "OK", contacts=contacts, headers=headers)
            if register.method == "SUBSCRIBE":
                accepted = msgspec.structs.replace(accepted, body=PROVISIONING)
            return on.SipMessageReceived(connection_id=number, message=accepted)
        case do.BeginHandshake(handshake_id=number):
            return on.HandshakeAdvanced(handshake_id=number, flight=FLIGHT)
        case do.ContinueHandshake(handshake_id=number):
            return on.HandshakeAdvanced(
                handshake_id=number, flight=b"", keys=KEYS, valid_until=EPOCH + 4000
            )
        case _:
            return None


def hear_switch(*policies: NetworkPolicy) -> on.LldpReceived:
    unit = LldpUnit(
        chassis_subtype=4,
        chassis_id=MAC,
        port_subtype=5,
        port_id=b"ge-1",
        ttl=120,
        med_capabilities=3,
        device_class=4,
        policies=policies,
    )
    return on.LldpReceived(unit=unit)


def answer_dhcp(message: DhcpMessage) -> on.Event | None:
    kinds = {
        MessageType.DISCOVER: (MessageType.OFFER, "10.0.0.50", LEASE_OPTIONS),
        MessageType.REQUEST: (MessageType.ACK, "10.0.0.50", LEASE_OPTIONS),
        MessageType.INFORM: (MessageType.ACK, "0.0.0.0", SIGN_IN_OPTIONS),
    }
    if message.message_type not in kinds:
        return None
    kind, yiaddr, options = kinds[message.message_type]
    reply = DhcpMessage(
        message_type=kind,
        op=BOOTREPLY,
        xid=message.xid,
        chaddr=MAC,
        yiaddr=yiaddr,
        options={53: bytes((kind,)), 54: encode_addresses((DHCP,))} | options,
    )
    return on.DhcpMessageReceived(message=reply, source=DHCP)


def answer_dns(request: do.SendDns) -> on.Event:
    query = request.query
    data: str | SrvData = WEB
    if query.qtype == "SRV":
        data = SrvData(10, 0, 5061, "fe01.contoso.com")
    response = DnsResponse(
        id=query.id,
        qname=query.qname,
        qtype=query.qtype,
        answers=(DnsRecord(query.qname, query.qtype, 30, data),),
    )
    return on.DnsResponseReceived(
        response=response, server=request.server, over_tcp=request.over_tcp
    )


def answer_web(asked: HttpRequest) -> Any:
    match asked.message:
        case GetMetadata():
            return METADATA.get(asked.path.removesuffix("/mex"))
        case GetRootCertChains():
            return GetRootCertChainsResponse(chain=b"the chain")
        case RequestSecurityToken(context=context):
            return RequestSecurityTokenResponse(
                context=context,
                assertion_id="SamlSecurityToken-1",
                assertion=b"<saml/>",
                created=int(EPOCH),
                expires=int(EPOCH) + 28800,
                entropy=b"s" * 32,
                sip_uri="sip:user00001@contoso.com",
            )
        case GetAndPublishCert(entity=entity, device_id=device_id):
            return GetAndPublishCertResponse(
                certificate=b"a certificate", device_id=device_id, entity=entity
            )


def answer_http(asked: HttpRequest) -> HttpResponse:
    """The answer, to a ticket request without a credential once it has authenticated itself."""
    message, token = asked.message, asked.authorization
    if isinstance(message, RequestSecurityToken) and message.credential is None:
        if token is None:
            return HttpResponse(status=401, challenges=OFFERS)
        if name_of_message(token.octets) == "NEGOTIATE_MESSAGE":
            return HttpResponse(status=401, challenges=(HttpToken(token.scheme, CHALLENGE),))
    told = answer_web(asked)
    return HttpResponse(status=404 if told is None else 200, message=told)


OFFERS = (HttpToken("Negotiate"), HttpToken("NTLM"))
CHALLENGE = encode_challenge(
    NtlmChallenge(
        flags=HTTP_FLAGS,
        server_challenge=b"challeng",
        target_info=target_info("contoso.com", "web", EPOCH),
    )
)

METADATA = {
    "/CertProv/CertProvisioningService.svc": ServiceMetadata(
        service="CertProvisioningService",
        ports=(
            ServicePort(
                name=PROOF_PORT,
                location="https://webpool.contoso.com/CertProv/Proof",
                issuer="https://webpool.contoso.com/WebTicket",
                needs_proof=True,
            ),
        ),
    ),
    "/WebTicket": ServiceMetadata(
        service="WebTicketService",
        ports=(
            ServicePort(name=PIN_PORT, location="https://webpool.contoso.com/WebTicket/Pin"),
            ServicePort(name=CERTIFICATE_PORT, location="https://other.contoso.com/WebTicket/Cert"),
            ServicePort(name=NEGOTIATE_PORT, location="https://webpool.contoso.com/WebTicket"),
        ),
    ),
}


# --- wrong answers ---

ADDRESSES = ["0.0.0.0", "10.0.0.50", "10.0.0.51", "255.255.255.255", DHCP, "10.0.0.2", DNS]
NAMES = ["", "contoso.com", "fe01.contoso.com", "x" * 63, "a\\.b.c", ".".join(["x" * 60] * 4)]
TEXTS = [
    *("", " ", "x" * 300, "%", '"', "a b", "-1", "0", "9" * 400, "\u20ac", "sip:", "sip:@"),
    *("sip:a@b", "sip:a@contoso.com", "sip:a@b\r\nX: y", "IncorrectPin", "PinExpired"),
]
NUMBERS = [0, 1, 2, 60, 255, 65535, 2**31 - 1, 2**32 - 1]
SECONDS = [encode_u32(value) for value in (0, 1, 60, 3600, 2**31, 2**32 - 1)]
OCTETS = [b"", b"\0", b"\xff" * 4, b"\0" * 4, b"\x0a\0\0\x03", b"text", b"\x01" * 300]
OPTIONS = {
    **dict.fromkeys((1, 3, 4, 6, 42, 53, 54), OCTETS),
    **dict.fromkeys((51, 58, 59), SECONDS),
    15: [b"contoso.com", b"two words", b"x" * 255, b"\xff", b"."],
    43: [
        b"\x0a\3100",
        b"\x0a\1\x64",
        b"\x0a\2\xff\xff",
        *OCTETS,
        SIGN_IN_OPTIONS[43],
        SIGN_IN_OPTIONS[43][:-5],
        SIGN_IN_OPTIONS[43] * 2,
    ],
    120: [*OCTETS, SIGN_IN_OPTIONS[120], b"fe01.contoso.com", b"\1\x0a\0\0\x15"],
}
TIMES = [0, 1, 1 << 63, (1 << 63) + 1, from_unix(-0.5), from_unix(0.5), (1 << 64) - 1]
FAULTS = [
    None,
    ServiceMetadata(service="", ports=()),
    *(
        ServiceMetadata(
            service="CertProvisioningService",
            ports=(
                ServicePort(name=PROOF_PORT, location=url, issuer=url, needs_proof=True),
                ServicePort(name=PIN_PORT, location=url),
                ServicePort(name=CERTIFICATE_PORT, location=url),
                ServicePort(name=NTLM_PORT, location=url),
            ),
        )
        for url in ("", "https://a", "https://a:99999/", "ftp://a/", "http://a/", "https://.../x")
    ),
    GetRootCertChainsResponse(chain=b""),
    SoapFault(code="c", reason="r"),
    SoapFault(code="c", reason="r\r\n", error_reason='"%', pin_failure="IncorrectPin"),
    SoapFault(code="c", reason="r", pin_failure="UserPinAccountLocked"),
]
HEADERS = [
    *(("Min-Expires", text) for text in ("900", "1000", "0", "x", "9" * 5000)),
    *(("ms-keep-alive", f"UAS; timeout={text}") for text in ("0", "1", "9" * 20)),
    ("presence-state", 'register-action="added"'),
    ("ms-diagnostics", '4004;reason="no"'),
    ("Authentication-Info", "TLS-DSK x"),
    ("Authentication-Info", 'TLS-DSK realm="r", opaque="A1", srand="zz", rspauth="00"'),
]
TLS_DSK = (("realm", "r"), ("targetname", "fe01.contoso.com"), ("version", "4"))
GOING_ON = (*TLS_DSK, ("opaque", "A1"), ("gssapi-data", base64.b64encode(FLIGHT).decode()))
DIGEST = (("realm", "r"), ("nonce", "n"), ("qop", "auth"))
CHALLENGES = [
    Challenge(scheme="NTLM"),
    Challenge(scheme="TLS-DSK", parameters=TLS_DSK),
    Challenge(scheme="TLS-DSK", parameters=GOING_ON),
    Challenge(scheme="TLS-DSK", parameters=(*GOING_ON, ("gssapi-data", "?"))),
    Challenge(scheme="Digest"),
    Challenge(scheme="Digest", parameters=DIGEST),
    Challenge(scheme="Digest", parameters=(*DIGEST, ("stale", "true")), is_proxy=True),
]
EXPIRIES = [None, 0, 1, 61, 2**32 - 1]
STATUSES = [100, 200, 200, 301, 401, 403, 404, 407, 408, 423, 423, 500, 503, 603]
POOLS: dict[str, list[Any]] = {
    **dict.fromkeys(("yiaddr", "ciaddr", "source", "server", "address"), ADDRESSES),
    **dict.fromkeys(("siaddr", "giaddr", "local_address"), ADDRESSES),
    **dict.fromkeys(("qname", "name", "target"), NAMES),
    **dict.fromkeys(("receive", "transmit", "originate"), TIMES),
    "rcode": ["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"],
    "qtype": ["A", "SRV", "CNAME"],
    "ttl": [0, 1, 2**31 - 1],
    "op": [1, 2],
    "policies": [
        (),
        (NetworkPolicy(is_tagged=True, vlan_id=100),),
        (NetworkPolicy(is_tagged=True, vlan_id=4095), NetworkPolicy(is_unknown=True)),
    ],
    "device_class": [0, 1, 4, 255],
    "retry_after": [None, 0, 5, 10**400],
    "conflict": [None, "02-00-00-00-00-99"],
    "stratum": [0, 1, 16],
}
# What a decoder makes sure of, and what the world and not a peer says.
FIXED = {
    "chaddr",
    "connection_id",
    "exchange_id",
    "cseq_method",
    "vias",
    "rtype",
    "data",
    "assertion",
}


def corrupt(message: Any, rng: random.Random) -> Any:
    """The message, changed to something else that a decoder could have read."""
    recipe = RECIPES.get(type(message))
    if recipe is not None and rng.random() < 0.7:
        return msgspec.structs.replace(message, **recipe(message, rng))
    name = rng.choice([name for name in message.__struct_fields__ if name not in FIXED])
    value = getattr(message, name)
    changed: Any
    if isinstance(value, msgspec.Struct):
        changed = corrupt(value, rng)
    elif name in POOLS:
        changed = rng.choice(POOLS[name])
    elif isinstance(value, enum.Enum):
        changed = rng.choice(list(type(value)))
    elif isinstance(value, bool):
        changed = not value
    elif isinstance(value, int):
        changed = rng.choice(NUMBERS)
    elif isinstance(value, bytes):
        changed = rng.choice(OCTETS)
    elif isinstance(value, str):
        changed = rng.choice(TEXTS)
    elif isinstance(value, tuple):
        changed = rng.choice([(), value[:-1], value[::-1], value * 2])
    else:
        changed = value
    return msgspec.structs.replace(message, **{name: changed})


def corrupt_event(event: on.Event, rng: random.Random) -> on.Event:
    """An answer of a peer that is wrong inside."""
    if isinstance(event, on.HandshakeAdvanced):  # what the phone's own TLS says of a wrong flight
        return on.HandshakeFailed(handshake_id=event.handshake_id, detail=rng.choice(TEXTS))
    for name in ("message", "response", "packet", "unit"):
        if hasattr(event, name):
            return msgspec.structs.replace(event, **{name: corrupt(getattr(event, name), rng)})
    return corrupt(event, rng)


def corrupt_options(message: DhcpMessage, rng: random.Random) -> dict[str, Any]:
    options = dict(message.options)
    for _ in range(rng.randint(1, 3)):
        code = rng.choice(list(OPTIONS))
        if rng.random() < 0.4:
            options.pop(code, None)
        else:
            options[code] = rng.choice(OPTIONS[code])
    return {"options": options}


def corrupt_times(packet: NtpPacket, rng: random.Random) -> dict[str, Any]:
    return {"receive": rng.choice(TIMES), "transmit": rng.choice(TIMES)}


def corrupt_response(response: SipResponse, rng: random.Random) -> dict[str, Any]:
    contacts = tuple(
        msgspec.structs.replace(contact, expires=rng.choice(EXPIRIES))
        for contact in response.contacts
    )
    return {
        "status": rng.choice(STATUSES),
        "contacts": rng.choice([(), contacts]),
        "headers": tuple(rng.sample(HEADERS, rng.randint(0, 3))),
        "challenges": tuple(rng.sample(CHALLENGES, rng.randint(0, 2))),
    }


def corrupt_http(response: HttpResponse, rng: random.Random) -> dict[str, Any]:
    message = response.message
    if message is not None and rng.random() < 0.5:
        return {"message": corrupt(message, rng)}
    retry_after = rng.choice(POOLS["retry_after"])
    message = rng.choice([message, *FAULTS])
    tokens = rng.choices(["NTLM", "Negotiate", "Basic", "", "a b"], k=rng.randint(0, 3))
    octets = rng.choice([b"", b"NTLMSSP\0\2\0\0\0", CHALLENGE[:-3], CHALLENGE, CHALLENGE[:60] * 9])
    return {
        "status": rng.choice([*STATUSES, 401]),
        "message": message,
        "retry_after": retry_after,
        "challenges": tuple(HttpToken(scheme, octets) for scheme in tokens),
    }


def corrupt_answers(response: DnsResponse, rng: random.Random) -> dict[str, Any]:
    """Other records: none, aliases that may loop, odd SRV targets."""
    names = [response.qname, "a.contoso.com", "b.contoso.com"]
    records = []
    for _ in range(rng.randint(0, 4)):
        match rng.choice(["CNAME", "A", "SRV"]):
            case "CNAME":
                records.append(DnsRecord(rng.choice(names), "CNAME", 5, rng.choice(names)))
            case "A":
                records.append(DnsRecord(rng.choice(names), "A", 0, rng.choice(ADDRESSES)))
            case _:
                data = SrvData(*(rng.choice([0, 1, 65535]) for _ in range(3)), rng.choice(NAMES))
                records.append(DnsRecord(rng.choice(names), "SRV", 60, data))
    return {"answers": tuple(records)}


RECIPES: dict[type, Callable[[Any, random.Random], dict[str, Any]]] = {
    DhcpMessage: corrupt_options,
    DnsResponse: corrupt_answers,
    NtpPacket: corrupt_times,
    SipResponse: corrupt_response,
    HttpResponse: corrupt_http,
}


def deregistration(rng: random.Random) -> SipRequest:
    """A NOTIFY that ends a registration, or nearly one."""
    me = NameAddress(uri="sip:user00001@contoso.com", tag="x")
    preferred = rng.choice(["sip:fe02.contoso.com:5061", "sip:10.0.0.9;transport=tcp", "", "x"])
    kind = rng.choice([*KINDS, "shutdown", ""])
    return SipRequest(
        method=rng.choice(["NOTIFY", "BENOTIFY", "MESSAGE"]),
        uri="sip:10.0.0.50",
        vias=("SIP/2.0/TLS 10.0.0.21",),
        sender=me,
        recipient=me,
        call_id="x",
        cseq=1,
        headers=(("Event", "registration-notify"), ("p-preferred-registrar", preferred)),
        body=deregistration_body(kind),
    )


def noise(number: int, rng: random.Random) -> on.Event:
    """An event that nobody asked for, or that the connection of that number brings."""
    failure = rng.choice(list(ConnectFailure))
    detail = rng.choice(["closed", 'odd "%\u20ac\r\n'])
    return rng.choice(
        [
            on.MalformedReceived(
                protocol=rng.choice(["lldp", "dhcp", "dns", "ntp", "http", "sip"]),
                source=DHCP,
                reason=detail,
                size=rng.choice([0, 65536]),
            ),
            hear_switch(*rng.choice(POOLS["policies"])),
            on.HttpFailed(exchange_id=number, failure=failure, detail=detail),
            on.ConnectionFailed(connection_id=number, failure=failure, detail=detail),
            on.ConnectionClosed(connection_id=number, detail=detail),
            on.ConnectionOpened(connection_id=number, local_address="10.0.0.50", local_port=1),
            on.SipMessageReceived(connection_id=number, message=deregistration(rng)),
            on.ConnectionFailed(connection_id=-1, failure=failure, detail=detail),
            on.ConnectionOpened(connection_id=-1, local_address="10.0.0.50", local_port=1),
            on.AddressProbed(address=rng.choice(ADDRESSES), conflict=rng.choice([None, "02"])),
            on.AddressClaimed(address=rng.choice(ADDRESSES), mac="02"),
            on.CertificateRequestMade(subject=rng.choice(TEXTS), csr=b""),
            on.HandshakeFailed(handshake_id=number, detail=detail),
            on.HandshakeAdvanced(handshake_id=number, flight=FLIGHT),
            on.DataSigned(data=rng.choice(OCTETS), signature=rng.choice(OCTETS)),
            on.CertificateChecked(certificate=rng.choice(OCTETS), problem=rng.choice(TEXTS)),
        ]
    )


# --- the world ---

CREDENTIALS = WindowsCredentials(
    sip_uri="sip:user00001@contoso.com", user_name="CONTOSO\\user1", password="Pa$$word"
)


class World:
    """A phone and what it has asked for; checks everything that the phone does."""

    def __init__(self, files: dict[str, bytes], seed: object) -> None:
        self.phone = Phone(
            *(PROFILE, MAC, "+14255550001", "8000014", random.Random(repr(seed))),
            validity=lambda certificate: (EPOCH, EPOCH + 7200),
            credentials=random.Random(f"{seed!r} types").choice([None, CREDENTIALS]),
        )
        self.now = 0.0
        self.files = dict(files)
        self.open: list[do.PhoneAction] = []
        self.past: list[on.Event] = []
        self.number = 0
        self.observed: list[on.Observation] = []
        self.trace: list[str] = []
        self.give(on.PowerApplied(files=files, has_key=KEY_FILE in files))

    @property
    def is_off(self) -> bool:
        return any(isinstance(seen, on.PoweredOff) for seen in self.observed)

    def give(self, event: on.Event) -> list[Any]:
        if self.is_off:
            return []
        self.past.append(event)
        outputs = self.phone.handle(event, self.now)
        for output in outputs:
            self.trace.append(re.sub(r" object at 0x[0-9a-f]+", "", repr(output)))
            if isinstance(output, on.Observation):
                self.observed.append(output)
            else:
                self.perform(output)
        deadline = self.phone.next_deadline()
        assert deadline is None or (deadline[0] == deadline[0] and deadline[1])
        return outputs

    def perform(self, action: Any) -> None:
        match action:
            case do.WriteLog():
                text = DIALECT.format(action.records, action.clock, action.tick)
                lines = text.split("\r\n")[:-1]
                assert [DIALECT.parse(line).record.name for line in lines] == [
                    record.name for record in action.records
                ]
                assert "8000014" not in text
                assert CREDENTIALS.password not in text
            case do.WriteFile(name=name, data=data):
                self.files[name] = data
            case do.DeleteFile(name=name):
                self.files.pop(name, None)
            case do.AdvertiseLldp(unit=unit):
                encode_lldp(unit)
            case do.SendDhcp(message=message):
                encode_dhcp(message)
            case do.SendDns(query=query):
                try:
                    encode_query(query)
                except ValueError:
                    return  # the world knows no such name: nobody answers
            case do.SendNtp(packet=packet):
                encode_ntp(packet)
            case do.SendHttp(request=request):
                encode_body(request.message)
                self.number = action.exchange_id
            case do.SendSip(message=message):
                encode_sip(message)
            case do.OpenConnection(connection_id=number):
                self.number = number
            case do.MakeCertificateRequest(subject=subject):
                assert re.fullmatch(r"[!-~]+@[!-~]+", subject)
                self.files[KEY_FILE] = b""
            case _:
                pass
        self.open.append(action)

    def step(self, move: tuple[str, int]) -> None:
        what, number = move
        rng = random.Random(number)
        self.now += rng.choice([0.0, 0.001, 0.5])
        match what:
            case "answer" | "corrupt" | "late":
                if not self.open:
                    return
                # Mostly what was asked last, as a site does.
                index = -1 if rng.random() < 0.7 else rng.randrange(len(self.open))
                event = answer(self.open[index], self.now)
                if what != "late":
                    self.open.pop(index)
                if event is not None and what == "corrupt":
                    event = corrupt_event(event, rng)
                if event is not None:
                    self.give(event)
            case "again":
                self.give(rng.choice(self.past[1:] or [on.TimerExpired()]))
            case "noise":
                self.give(noise(self.number - rng.randrange(2), rng))
            case "early":
                self.now += rng.choice([0.0, 1.0, 40.0])
                self.give(on.TimerExpired())
            case "wait":
                self.wait()

    def wait(self) -> None:
        """Let time pass until the next deadline, and see that it lies behind then."""
        deadline = self.phone.next_deadline()
        if deadline is None or deadline[0] == float("inf"):
            return
        self.now = max(self.now, deadline[0])
        for _ in range(20):
            self.give(on.TimerExpired())
            deadline = self.phone.next_deadline()
            if deadline is None or deadline[0] > self.now:
                return
        raise AssertionError(f"time stands still at {self.now}: {deadline}")


def stories(*others: str, least: int = 30) -> st.SearchStrategy[list[tuple[str, int]]]:
    """What the world does, step by step: right answers, and other things in between."""
    what = [*["answer"] * 12, *["wait"] * 2, "late", "again", "noise", "early", *others]
    step = st.tuples(st.sampled_from(what), st.integers(0, 2**20))
    return st.lists(step, min_size=least, max_size=3 * least + 5)


anything = stories(*["corrupt"] * 5)
worlds = st.sampled_from(["a new phone", "a phone that was signed in", "a signed-in phone"])


def boot(files: dict[str, bytes], seed: int = 1) -> World:
    """A world that answers everything rightly until the phone has signed in."""
    world = World(files, seed)
    for _ in range(200):
        if any(isinstance(seen, on.SignedIn) for seen in world.observed):
            return world
        world.step(("answer", 0)) if world.open else world.wait()
    raise AssertionError("a healthy site, and the phone did not sign in")


def begin(where: str) -> World:
    if where == "a signed-in phone":
        return boot({})
    return World(boot({}).files if where == "a phone that was signed in" else {}, 1)


def test_right_answers_lead_to_a_phone_that_is_signed_in() -> None:
    first = boot({})
    second = boot(first.files)
    assert any(isinstance(seen, on.StageEnded) and seen.skipped for seen in second.observed)


@settings(max_examples=200)
@given(worlds, anything)
def test_no_world_makes_a_phone_raise_or_stand_still(
    where: str, story: list[tuple[str, int]]
) -> None:
    world = begin(where)
    for move in story:
        world.step(move)
    began = world.now
    for _ in range(30):
        world.wait()
    assert world.now > began or world.phone.next_deadline() in (None, (float("inf"), "T1"))


@given(st.binary(max_size=60) | st.just(b'{"in_use": {}}'))
def test_whatever_the_disk_holds_the_phone_signs_in(data: bytes) -> None:
    assert boot({"cache.json": data}).observed


@settings(max_examples=100)
@given(worlds, anything, stories("corrupt", least=0))
def test_a_phone_that_is_shut_down_comes_to_its_end(
    where: str, before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    world = begin(where)
    for move in before:
        world.step(move)
    world.give(on.ShutdownRequested())
    for move in after:
        world.step(move)
    for _ in range(10):
        world.wait()
    assert world.is_off
    assert world.phone.next_deadline() is None


@settings(max_examples=100)
@given(worlds, anything, stories("corrupt", least=0))
def test_a_phone_that_is_signed_out_keeps_nothing_of_its_user(
    where: str, before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    world = begin(where)
    for move in before:
        world.step(move)
    world.give(on.SignOutRequested())
    for move in after:
        world.step(move)
    for _ in range(10):
        world.wait()
    assert any(isinstance(seen, on.SignedOut) for seen in world.observed)
    assert not {IDENTITY_FILE, KEY_FILE} & world.files.keys()
    world.give(on.ShutdownRequested())
    for _ in range(10):
        world.wait()
    assert world.is_off


@given(st.binary(max_size=200))
def test_whatever_the_identity_file_holds_the_phone_signs_in(data: bytes) -> None:
    assert boot({IDENTITY_FILE: data, KEY_FILE: b""}).observed


@settings(max_examples=50)
@given(anything, st.integers(0, 3))
def test_the_same_seed_and_events_give_the_same_trace(
    story: list[tuple[str, int]], seed: int
) -> None:
    traces = []
    for _ in range(2):
        world = World({}, seed)
        for move in story:
            world.step(move)
        traces.append(world.trace)
    assert traces[0] == traces[1]


@pytest.mark.parametrize("seed", range(3))
def test_another_seed_gives_another_trace(seed: int) -> None:
    assert boot({}, seed).trace != boot({}, seed + 1).trace


@settings(max_examples=100)
@given(stories())
def test_a_site_that_is_healthy_again_brings_the_phone_back(story: list[tuple[str, int]]) -> None:
    world = boot({})
    for move in story:
        world.step(move)
    before = len(world.observed)
    if any(isinstance(seen, on.BootFailed) and seen.retry_in is None for seen in world.observed):
        return  # what a Registrar said of the user is for a person to mend
    for _ in range(400):
        world.step(("answer", 0)) if world.open else world.wait()
        if any(
            isinstance(seen, on.ExchangeEnded) and seen.kind == "sip_register" and seen.sent
            for seen in world.observed[before:]
        ):
            return
    raise AssertionError(world.phone.next_deadline())
