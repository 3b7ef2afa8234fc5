"""No order of events makes a server of the mock site raise, with and without faults."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from phonesim.mocksite.exchange import (
    ConnectionAccepted,
    ConnectionLost,
    DhcpReceived,
    DnsReceived,
    HttpReceived,
    KeepAliveReceived,
    LldpAdvertised,
    MalformedArrived,
    NtpReceived,
    ServerAction,
    ServerTimerExpired,
    SipReceived,
)
from phonesim.mocksite.site import build_site
from phonesim.profiles import FAULT, SITE, load, names
from phonesim.virtual_authority import VirtualAuthority
from phonesim.virtual_handshake import VirtualClientHandshake
from phonesim.wire.cert_provisioning import GetAndPublishCert, GetRootCertChains, KeyProof
from phonesim.wire.dhcp import DhcpMessage, MessageType
from phonesim.wire.dns import DnsQuery
from phonesim.wire.http import HttpRequest
from phonesim.wire.lldp import LldpUnit
from phonesim.wire.message_signature import CertificateSignature
from phonesim.wire.ntp import NtpPacket
from phonesim.wire.sip import Contact, Credentials, NameAddress, SipRequest, SipResponse
from phonesim.wire.sipae import Authorization, credentials_of
from phonesim.wire.tls_records import CERTIFICATE, encode_finished, encode_handshake
from phonesim.wire.web_services_metadata import GetMetadata
from phonesim.wire.web_ticket import CertificateCredential, PinCredential, RequestSecurityToken

CONTOSO = load(SITE, "contoso")
SMALL = CONTOSO.model_copy(
    update={
        "dhcp_servers": tuple(
            server.model_copy(
                update={
                    "scope": server.scope.model_copy(
                        update={"first": server.scope.last - 2, "lease_time": 30}
                    )
                }
            )
            for server in CONTOSO.dhcp_servers
        ),
        "registrars": (
            CONTOSO.registrars[0].model_copy(update={"maximum_endpoints": 2}),
            CONTOSO.registrars[1].model_copy(update={"auth": "digest"}),
        ),
    }
)
FAULTS = [load(FAULT, name) for name in names(FAULT)]

addresses = st.sampled_from(
    ["0.0.0.0", "127.20.255.252", "127.20.255.253", "127.20.255.254", "127.20.0.10", "10.1.1.1"]
)
packed = st.sampled_from(
    [
        b"",
        b"\x7f",
        bytes(4),
        bytes((127, 20, 255, 253)),
        bytes((127, 20, 255, 254)),
        bytes((127, 20, 0, 10)),
        bytes((10, 1, 1, 1)),
    ]
)
dhcp_options = st.fixed_dictionaries(
    {},
    optional={
        50: packed,
        54: packed,
        55: st.binary(max_size=6) | st.just(bytes((43, 120, 6, 15))),
        60: st.sampled_from([b"", b"MS-UC-Client", b"CPE-OCPHONE", b"other"]),
        61: st.sampled_from([b"", b"\1a", b"\1b"]),
    },
)
dhcp_events = st.builds(
    DhcpReceived,
    message=st.builds(
        DhcpMessage,
        message_type=st.sampled_from(MessageType),
        xid=st.integers(0, 3),
        chaddr=st.sampled_from([b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", b"\2\0\0\0\0\3", b""]),
        op=st.sampled_from([1, 1, 1, 2]),
        flags=st.sampled_from([0, 0x8000]),
        ciaddr=addresses,
        giaddr=st.just("0.0.0.0") | addresses,
        options=dhcp_options,
    ),
    source=addresses,
    destination=addresses,
)
dns_events = st.builds(
    DnsReceived,
    query=st.builds(
        DnsQuery,
        id=st.integers(0, 65535),
        qname=st.sampled_from(
            ["", "contoso.com", "fe01.contoso.com", "_sipinternaltls._tcp.contoso.com", "x.org"]
        )
        | st.text(max_size=20),
        qtype=st.sampled_from(["A", "SRV", "CNAME", "AAAA", "ANY", "TYPE65"]),
    ),
    client=st.just("phone"),
    over_tcp=st.booleans(),
)
lldp_events = st.builds(
    LldpAdvertised,
    unit=st.builds(
        LldpUnit,
        chassis_subtype=st.integers(0, 9),
        chassis_id=st.sampled_from([b"a", b"b"]),
        port_subtype=st.just(3),
        port_id=st.sampled_from([b"a", b"b"]),
        ttl=st.sampled_from([0, 120]),
        med_capabilities=st.none() | st.just(0x33),
    ),
    port=st.sampled_from(["one", "two", ""]),
)
ntp_events = st.builds(
    NtpReceived,
    packet=st.builds(
        NtpPacket,
        mode=st.integers(0, 7),
        version=st.integers(0, 7),
        transmit=st.integers(0, 2**64 - 1),
    ),
    client=st.just("phone"),
)
PHONE_CERTIFICATE = b"certificate 0 9999999999 user00001@contoso.com"
URLS = [
    "https://webpool.contoso.com:443/CertProv/CertProvisioningService.svc/WebTicket_Proof",
    "https://elsewhere/",
]
soap_messages = (
    st.just(GetRootCertChains())
    | st.just(GetMetadata())
    | st.builds(
        RequestSecurityToken,
        context=st.just("c"),
        applies_to=st.sampled_from(URLS),
        credential=st.builds(
            PinCredential,
            number=st.sampled_from(["+142555500001", "142555500001", "", "x"])
            | st.text(max_size=9),
            pin=st.sampled_from(["8000014", "8000015"]) | st.text(max_size=9),
        )
        | st.builds(
            CertificateCredential,
            created=st.integers(0, 2**32),
            expires=st.integers(0, 2**32),
            signature=st.builds(
                CertificateSignature,
                certificate=st.just(PHONE_CERTIFICATE) | st.binary(max_size=9),
                signed_info=st.binary(max_size=9),
                value=st.binary(max_size=9),
            ),
        ),
        entropy=st.sampled_from([bytes(32), b""]),
    )
    | st.builds(
        GetAndPublishCert,
        to=st.sampled_from(URLS),
        message_id=st.text(max_size=3),
        device_id=st.text(max_size=3),
        entity=st.sampled_from(["user00001@contoso.com", ""]),
        csr=st.binary(max_size=8),
        request_id=st.just("r"),
        assertion_id=st.text(max_size=3),
        assertion=st.binary(max_size=3),
        created=st.integers(),
        expires=st.integers(),
        proof=st.just(KeyProof(bytes(32))),
    )
)
http_events = st.builds(
    HttpReceived,
    exchange_id=st.integers(0, 9),
    request=st.builds(
        HttpRequest,
        scheme=st.sampled_from(["http", "https"]),
        host=st.text(max_size=5),
        port=st.just(443),
        path=st.sampled_from(
            [
                "/CertProv/CertProvisioningService.svc",
                "/CertProv/CertProvisioningService.svc/WebTicket_Proof",
                "/CertProv/CertProvisioningService.svc/mex",
                "/WebTicket/WebTicketService.svc/Pin",
                "/WebTicket/WebTicketService.svc/Cert",
                "/WebTicket/WebTicketService.svc/mex",
                "/",
            ]
        ),
        message=soap_messages,
    ),
    peer=st.just("phone"),
)
sip_uris = st.sampled_from(
    ["sip:user00001@contoso.com", "sip:user00002@contoso.com", "sip:nobody@contoso.com", "", "x"]
) | st.text(max_size=12)
name_addresses = st.builds(
    NameAddress,
    uri=sip_uris,
    tag=st.none() | st.text(max_size=3),
    epid=st.none() | st.sampled_from(["0123456789", "9876543210"]) | st.text(max_size=4),
)
same_name = name_addresses.map(lambda address: (address, NameAddress(uri=address.uri)))
names_of_both = same_name | st.tuples(name_addresses, name_addresses)
contacts = st.builds(
    Contact,
    uri=st.sampled_from(["*", "sip:127.20.16.1:50000"]),
    expires=st.none() | st.integers(0, 10_000),
    instance=st.none() | st.text(max_size=4) | st.uuids().map(str),
)
HEADER_VALUES = [
    *("registration", "presence", "vnd-microsoft-provisioning-v2", ""),
    *("msrtc-event-categories", "gruu-10", "ms-benotify"),
]
headers = st.lists(
    st.tuples(
        st.sampled_from(["Event", "Supported", "event", "X"]),
        st.sampled_from(HEADER_VALUES),
    ),
    max_size=3,
).map(tuple)
credentials = st.builds(
    Credentials,
    scheme=st.sampled_from(["Digest", "digest", "TLS-DSK"]),
    parameters=st.lists(
        st.tuples(
            st.sampled_from(["realm", "username", "nonce", "nc", "uri", "response", "qop"]),
            st.sampled_from(["SIP Communications Service", "user00001", "auth", "00000001", ""])
            | st.text(max_size=5),
        ),
        max_size=7,
    ).map(tuple),
)
client_flights = st.sampled_from(
    [
        VirtualClientHandshake("a", "fe01.contoso.com", PHONE_CERTIFICATE).advance(b""),
        encode_handshake((CERTIFICATE, PHONE_CERTIFICATE)) + encode_finished(b"f"),
        b"",
    ]
) | st.binary(max_size=30)
authorizations = st.builds(
    Authorization,
    scheme=st.sampled_from(["TLS-DSK", "TLS-DSK", "NTLM", "Kerberos"]),
    realm=st.just("SIP Communications Service"),
    targetname=st.sampled_from(["fe01.contoso.com", "FE01.contoso.com", "x"]),
    version=st.sampled_from([2, 3, 4]),
    opaque=st.none() | st.sampled_from(["", "8E2BD5A4"]),
    gssapi_data=st.none() | client_flights,
    crand=st.just("0a1b2c3d"),
    cnum=st.integers(1, 5),
    response=st.none() | st.just("ab" * 20),
).map(credentials_of)


def sip_request(method, names, uri, call_id, cseq, expires, contacts, headers, credentials):
    return SipRequest(
        method=method,
        uri=uri,
        vias=("SIP/2.0/TLS 127.20.16.1",),
        sender=names[0],
        recipient=names[1],
        call_id=call_id,
        cseq=cseq,
        expires=expires,
        contacts=contacts,
        headers=headers,
        credentials=credentials,
    )


sip_requests = st.builds(
    sip_request,
    st.sampled_from(["REGISTER"] * 6 + ["SUBSCRIBE", "ACK", "CANCEL", "INVITE", "FOO", ""]),
    names_of_both,
    st.sampled_from(["sip:contoso.com"] * 4 + ["", "sip:", "tel:1"]),
    st.sampled_from(["a", "b"]),
    st.integers(0, 5),
    st.none() | st.integers(0, 10_000),
    st.lists(contacts, max_size=2).map(tuple),
    headers,
    st.lists(credentials | authorizations, max_size=10).map(tuple),
)
sip_responses = sip_requests.map(
    lambda request: SipResponse(
        status=200,
        reason="OK",
        vias=(),
        sender=request.sender,
        recipient=request.recipient,
        call_id=request.call_id,
        cseq=request.cseq,
        cseq_method=request.method,
    )
)
connection_ids = st.integers(1, 3)
sip_events = (
    st.builds(SipReceived, connection_id=connection_ids, message=sip_requests | sip_responses)
    | st.builds(
        ConnectionAccepted,
        connection_id=connection_ids,
        peer=st.just("127.20.16.1"),
        peer_port=st.just(50000),
        transport=st.sampled_from(["tls", "tls", "tcp"]),
    )
    | st.builds(KeepAliveReceived, connection_id=connection_ids)
    | st.builds(ConnectionLost, connection_id=connection_ids)
)
other_events = st.just(ServerTimerExpired()) | st.builds(
    MalformedArrived, protocol=st.just("sip"), source=st.just("s"), reason=st.text(max_size=5)
)
events = (
    dhcp_events
    | dns_events
    | ntp_events
    | http_events
    | sip_events
    | sip_events
    | lldp_events
    | other_events
)
steps = st.lists(st.tuples(st.floats(0, 400), events), max_size=40)


@settings(max_examples=150)
@given(steps=steps, faults=st.lists(st.sampled_from(FAULTS), max_size=3, unique_by=id))
def test_no_order_of_events_raises(steps, faults):
    site = build_site(SMALL, faults, VirtualAuthority(), random.Random(1), 1e9)
    for user in ("sip:user00001@contoso.com", "sip:user00002@contoso.com"):
        site.users.publish(site.users.by_sip_uri(user), "d", PHONE_CERTIFICATE)
    now = 0.0
    for pause, event in steps:
        now += pause
        for server in (site.switch, *(listener.server for listener in site.listeners)):
            actions = server.handle(event, now)
            assert all(isinstance(action, ServerAction) for action in actions)
            deadline = server.next_deadline()
            assert deadline is None or isinstance(deadline[0], float | int)


@settings(max_examples=50)
@given(steps=steps)
def test_deadlines_are_reached_in_the_end(steps):
    """Whoever lets time pass at every deadline comes to the end of all deadlines."""
    site = build_site(SMALL, [], VirtualAuthority(), random.Random(1), 1e9)
    now = 0.0
    for pause, event in steps:
        now += pause
        for listener in site.listeners:
            listener.server.handle(event, now)
    for listener in site.listeners:
        for _ in range(2 * len(steps) + 1):
            deadline = listener.server.next_deadline()
            if deadline is None:
                break
            now = max(now, deadline[0])
            listener.server.handle(ServerTimerExpired(), now)
        assert listener.server.next_deadline() is None


@settings(max_examples=50)
@given(steps=st.lists(st.tuples(st.floats(0, 20), dhcp_events), max_size=60))
def test_no_two_clients_hold_one_address(steps):
    site = build_site(SMALL, [], VirtualAuthority(), random.Random(1), 1e9)
    server = site.listeners[0].server
    leases: dict[str, tuple[bytes, float]] = {}
    now = 0.0
    for pause, event in steps:
        now += pause
        message = event.message
        client = message.options.get(61) or message.chaddr
        if message.message_type is MessageType.RELEASE:
            holder = leases.get(message.ciaddr)
            if holder is not None and holder[0] == client and message.options.get(54):
                del leases[message.ciaddr]
        for action in server.handle(event, now):
            sent = getattr(action, "message", None)
            if sent is None or sent.message_type is not MessageType.ACK:
                continue
            if sent.yiaddr == "0.0.0.0":
                continue
            holder = leases.get(sent.yiaddr)
            assert holder is None or holder[0] == client or holder[1] <= now
            leases[sent.yiaddr] = (client, now + 30)
