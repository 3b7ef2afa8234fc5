import random

import pytest
from dsk_client import DskClient

from phonesim.config.fault import FaultProfile, SipStatus
from phonesim.config.site_profile import (
    DhcpServerConfig,
    DnsServerConfig,
    NtpServerConfig,
    RegistrarConfig,
    Scope,
    SiteProfile,
    SwitchConfig,
    UserRange,
    WebServicesConfig,
    Zone,
)
from phonesim.errors import ProfileError
from phonesim.mocksite.exchange import (
    ConnectionAccepted,
    DhcpReceived,
    DnsReceived,
    HttpReceived,
    LldpAdvertised,
    NtpReceived,
    SendDhcpReply,
    SendLldp,
    ServerTimerExpired,
    SipReceived,
)
from phonesim.mocksite.site import build_site
from phonesim.profiles import FAULT, SITE, load, names
from phonesim.wire.cert_provisioning import GetAndPublishCert, GetRootCertChains, KeyProof
from phonesim.wire.dhcp import BROADCAST, UNSPECIFIED, DhcpMessage, MessageType, Option
from phonesim.wire.dns import DnsQuery
from phonesim.wire.endpoint import sip_instance
from phonesim.wire.http import HttpRequest, parse_url
from phonesim.wire.lldp import LldpUnit
from phonesim.wire.ntp import NtpPacket, to_unix
from phonesim.wire.provisioning import decode_sip_servers, decode_uc_options
from phonesim.wire.sip import Contact, NameAddress, SipRequest
from phonesim.wire.web_services_metadata import PIN_PORT, PROOF_PORT, GetMetadata
from phonesim.wire.web_ticket import PinCredential, RequestSecurityToken, proof_key

EPOCH = 1_767_596_400.0
MAC = bytes.fromhex("0004f2000001")


def small_profile():
    scope = Scope(subnet="10.0.0.0/24", first="10.0.0.100", last="10.0.0.101")
    return SiteProfile(
        name="small",
        dhcp_servers=(DhcpServerConfig(name="dhcp01", address="10.0.0.2", scope=scope),),
        dns_servers=(
            DnsServerConfig(name="dns01", address="10.0.0.3", zones=(Zone(origin="contoso.com"),)),
        ),
        ntp_servers=(NtpServerConfig(name="ntp01", address="10.0.0.4"),),
        web_services=(
            WebServicesConfig(
                name="web01",
                address="10.0.0.5",
                fqdn="web.contoso.com",
                certificate_names=("updates.contoso.com",),
            ),
        ),
        registrars=(
            RegistrarConfig(name="lync01", address="10.0.0.6", fqdn="fe1.contoso.com"),
            RegistrarConfig(
                name="pbx01",
                address="10.0.0.7",
                fqdn="pbx.contoso.com",
                port=5060,
                transport="tcp",
                authentication=("digest",),
            ),
        ),
        users=(UserRange(sip_uri="sip:alice@contoso.com", number="4711", pin="24680"),),
    )


def fault(*rules):
    return FaultProfile(name="test", description="", rules=rules)


@pytest.fixture
def build(authority):
    def build_with(*rules, profile=None):
        faults = [fault(*rules)] if rules else []
        return build_site(profile or small_profile(), faults, authority, random.Random(1), EPOCH)

    return build_with


def shown(site):
    return {
        (listener.name, listener.protocol): (listener.certificate, listener.refuses)
        for listener in site.listeners
        if (listener.certificate, listener.refuses) != ("valid", False)
    }


def discover(listener, now=0.0):
    message = DhcpMessage(message_type=MessageType.DISCOVER, xid=1, chaddr=MAC)
    event = DhcpReceived(message=message, source=UNSPECIFIED, destination=BROADCAST)
    return listener.server.handle(event, now)


def test_every_server_listens_where_its_protocol_does(build):
    site = build()
    assert [
        (listener.name, listener.protocol, listener.address, listener.port, listener.names)
        for listener in site.listeners
    ] == [
        ("dhcp01", "dhcp", "10.0.0.2", 67, ()),
        ("dns01", "dns", "10.0.0.3", 53, ()),
        ("ntp01", "ntp", "10.0.0.4", 123, ()),
        ("web01", "http", "10.0.0.5", 80, ("web.contoso.com", "updates.contoso.com")),
        ("web01", "https", "10.0.0.5", 443, ("web.contoso.com", "updates.contoso.com")),
        ("lync01", "sips", "10.0.0.6", 5061, ("fe1.contoso.com",)),
        ("pbx01", "sip", "10.0.0.7", 5060, ("pbx.contoso.com",)),
    ]
    assert shown(site) == {}
    assert (site.name, site.epoch, site.squatters) == ("small", EPOCH, frozenset())
    by_protocol = {listener.protocol: listener.server for listener in site.listeners}
    assert by_protocol["http"] is by_protocol["https"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            {"kind": "refuse", "protocol": "sip"},
            {("lync01", "sips"): ("valid", True), ("pbx01", "sip"): ("valid", True)},
        ),
        (
            {"kind": "refuse", "protocol": "sip", "target": "lync*"},
            {("lync01", "sips"): ("valid", True)},
        ),
        ({"kind": "refuse", "protocol": "https"}, {("web01", "https"): ("valid", True)}),
        (
            {"kind": "show-certificate", "certificate": "expired"},
            {("web01", "https"): ("expired", False), ("lync01", "sips"): ("expired", False)},
        ),
        (
            {"kind": "show-certificate", "certificate": "wildcard", "target": "web01"},
            {("web01", "https"): ("wildcard", False)},
        ),
        (
            {"kind": "show-certificate", "certificate": "expired", "protocol": "https"},
            {("web01", "https"): ("expired", False)},
        ),
        (
            {"kind": "show-certificate", "certificate": "untrusted", "protocol": "sip"},
            {("lync01", "sips"): ("untrusted", False)},
        ),
    ],
)
def test_faults_of_listeners(build, rule, expected):
    assert shown(build(rule)) == expected


@pytest.mark.parametrize(
    ("protocol", "expected"), [(None, {"https", "sips"}), ("https", {"https"}), ("sip", {"sips"})]
)
def test_tls_versions_are_required_where_the_fault_says(build, protocol, expected):
    site = build({"kind": "require-tls", "version": "1.2", "protocol": protocol})
    demanding = {each.protocol for each in site.listeners if each.minimum_tls == "1.2"}
    assert demanding == expected
    assert {each.minimum_tls for each in site.listeners} == {"1.0", "1.2"}


def with_switch(**fields):
    return small_profile().model_copy(update={"switch": SwitchConfig(name="access01", **fields)})


def policies(site):
    """What the site's switch tells a phone that it has not heard before."""
    unit = LldpUnit(
        chassis_subtype=4, chassis_id=MAC, port_subtype=3, port_id=MAC, ttl=120, med_capabilities=1
    )
    said = site.switch.handle(LldpAdvertised(unit=unit, port="1"), 0)
    return [
        policy.vlan_id if policy.is_tagged else "untagged"
        for action in said
        if isinstance(action, SendLldp)
        for policy in action.unit.policies
    ]


def test_a_site_can_have_a_switch(build):
    assert build().switch is None
    assert policies(build(profile=with_switch())) == ["untagged"]
    assert policies(build(profile=with_switch(voice_vlan=100))) == [100]


def test_faults_of_the_switch(build):
    wrong = {"kind": "voice-vlan", "vlan_id": 666}
    silent = {"kind": "silence", "protocol": "lldp"}
    profile = with_switch(voice_vlan=100)
    assert policies(build(wrong, profile=profile)) == [666]
    assert policies(build(silent, profile=profile)) == []
    late = build({"kind": "delay", "protocol": "lldp", "seconds": 5}, profile=profile)
    assert policies(late) == []
    assert late.switch.next_deadline()[0] == 5
    for rule in (wrong, silent):
        with pytest.raises(ProfileError, match="no lldp server; the site has none"):
            build(rule)


def test_the_vlan_option_can_be_at_fault(build):
    message = DhcpMessage(
        message_type=MessageType.DISCOVER,
        xid=1,
        chaddr=MAC,
        options={
            Option.PARAMETER_REQUEST_LIST: b"+",
            Option.VENDOR_CLASS_IDENTIFIER: b"CPE-OCPHONE",
        },
    )
    event = DhcpReceived(message=message, source=UNSPECIFIED, destination=BROADCAST)
    site = build({"kind": "vlan-option", "value": "FFFF"})
    (offer,) = site.listeners[0].server.handle(event, 0)
    assert offer.message.options[43] == b"\x0a\x02\xff\xff"


def test_a_dhcp_server_can_be_in_a_vlan(build):
    profile = small_profile()
    (config,) = profile.dhcp_servers
    moved = config.model_copy(update={"on_vlan": 100})
    site = build(profile=profile.model_copy(update={"dhcp_servers": (moved,)}))
    assert [listener.on_vlan for listener in site.listeners[:2]] == [100, None]


def test_squatters_are_the_first_addresses_of_the_scope(build):
    one = build({"kind": "address-conflict", "count": 1})
    assert one.squatters == {"10.0.0.100"}
    many = build({"kind": "address-conflict", "count": 99})
    assert many.squatters == {"10.0.0.100", "10.0.0.101"}


def test_a_rogue_server_answers_first(build):
    rogue = {
        "kind": "add-dhcp-server",
        "head_start": 0.5,
        "server": {
            "name": "rogue",
            "address": "10.0.0.66",
            "scope": {"subnet": "10.0.0.0/24", "first": "10.0.0.200", "last": "10.0.0.201"},
        },
    }
    site = build(rogue)
    first, second = site.listeners[:2]
    assert (first.name, first.address) == ("rogue", "10.0.0.66")
    (at_once,) = discover(first)
    assert at_once.message.yiaddr == "10.0.0.200"
    assert discover(second) == []
    assert second.server.next_deadline()[0] == 0.5
    (late,) = second.server.handle(ServerTimerExpired(), 0.5)
    assert late.message.yiaddr == "10.0.0.100"


def test_a_server_can_give_its_options_to_another_class(authority):
    site = build_site(
        load(SITE, "contoso"),
        [load(FAULT, "wrong-class-answered")],
        authority,
        random.Random(1),
        EPOCH,
    )
    options = {
        vendor_class: inform(site, vendor_class)
        for vendor_class in (b"MS-UC-Client", b"ms-uc-client")
    }
    assert Option.VENDOR_SPECIFIC_INFORMATION not in options[b"MS-UC-Client"]
    assert Option.VENDOR_SPECIFIC_INFORMATION in options[b"ms-uc-client"]


def test_faults_act_on_the_servers_that_they_name(build):
    rule = {"kind": "silence", "protocol": "dhcp", "target": "dhcp0?"}
    site = build(rule)
    assert not any(isinstance(a, SendDhcpReply) for a in discover(site.listeners[0]))
    assert any(isinstance(a, SendDhcpReply) for a in discover(build().listeners[0]))


def test_pin_faults_change_the_directory(build):
    site = build({"kind": "pin-state", "state": "locked", "users": "sip:ALICE@*"})
    assert site.users.by_number("4711")[0].pin_state == "locked"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (
            {"kind": "silence", "protocol": "dns", "target": "dns9"},
            "fault test: silence: target 'dns9' names no dns server; there are: dns01",
        ),
        (
            {"kind": "refuse", "protocol": "sip", "target": "web01"},
            "target 'web01' names no sip server; there are: lync01, pbx01",
        ),
        (
            {"kind": "show-certificate", "certificate": "expired", "target": "dns01"},
            "names no web or sip server",
        ),
        ({"kind": "pin-state", "state": "locked", "users": "sip:bob@*"}, "no SIP URI .* 'sip:bob"),
    ],
)
def test_a_fault_that_finds_nothing_to_act_on_is_refused(build, rule, text):
    with pytest.raises(ProfileError, match=text):
        build(rule)


def test_a_fault_for_a_kind_of_server_that_the_site_has_not_is_refused(build):
    bare = small_profile().model_copy(update={"ntp_servers": ()})
    with pytest.raises(ProfileError, match="names no ntp server; the site has none"):
        build({"kind": "silence", "protocol": "ntp"}, profile=bare)


def test_two_servers_cannot_share_a_port(build):
    rogue = {
        "kind": "add-dhcp-server",
        "server": {"name": "rogue", "address": "10.0.0.2"},
    }
    with pytest.raises(ProfileError, match=r"rogue and dhcp01 both listen on 10\.0\.0\.2 port 67"):
        build(rogue)


# --- the shipped site and faults ----------------------------------------------


def contoso(authority, *faults):
    return build_site(
        load(SITE, "contoso"),
        [load(FAULT, name) for name in faults],
        authority,
        random.Random(1),
        EPOCH,
    )


def server_of(site, name, protocol):
    (found,) = (
        listener.server
        for listener in site.listeners
        if (listener.name, listener.protocol) == (name, protocol)
    )
    return found


def inform(site, vendor_class=b"MS-UC-Client"):
    """Send an INFORM for options 43 and 120; return the options of the answer."""
    message = DhcpMessage(
        message_type=MessageType.INFORM,
        xid=1,
        chaddr=MAC,
        ciaddr="127.20.16.1",
        options={
            Option.VENDOR_CLASS_IDENTIFIER: vendor_class,
            Option.PARAMETER_REQUEST_LIST: bytes([43, 120]),
        },
    )
    event = DhcpReceived(message=message, source="127.20.16.1", destination=BROADCAST)
    (reply,) = server_of(site, "dhcp01", "dhcp").handle(event, 0)
    return reply.message.options


def resolve(site, qname, qtype="A"):
    event = DnsReceived(query=DnsQuery(id=1, qname=qname, qtype=qtype), client="phone")
    (reply,) = server_of(site, "dns01", "dns").handle(event, 0)
    return [record.data for record in reply.response.answers]


def test_a_phone_finds_its_way_through_contoso(authority):
    site = contoso(authority)
    (offer,) = discover(site.listeners[0])
    assert offer.message.yiaddr == "127.20.16.1"
    assert len(site.users.by_number("+142555599999")) == 1

    options = inform(site)
    uc_options = decode_uc_options(options[Option.VENDOR_SPECIFIC_INFORMATION])
    registrars = decode_sip_servers(options[Option.SIP_SERVERS]).names
    assert registrars == ("fe01.contoso.com", "fe02.contoso.com")
    targets = resolve(site, "_sipinternaltls._tcp.contoso.com", "SRV")
    assert tuple(srv.target for srv in targets) == registrars
    (web_address,) = resolve(site, uc_options.web_server_fqdn)
    (registrar_address,) = resolve(site, registrars[0])
    places = {listener.address: listener for listener in site.listeners}
    assert uc_options.web_server_fqdn in places[web_address].names
    assert registrars[0] in places[registrar_address].names
    assert places[registrar_address].port == 5061

    (srv,) = resolve(site, "_ntp._udp.contoso.com", "SRV")
    assert resolve(site, srv.target) == ["127.20.0.12"]
    asked = NtpReceived(packet=NtpPacket(mode=3, transmit=1), client="phone")
    (told,) = server_of(site, "ntp01", "ntp").handle(asked, 60)
    assert to_unix(told.packet.transmit) == EPOCH + 60

    web = server_of(site, "pool01", "https")

    def post(message, path):
        request = HttpRequest(
            scheme="https",
            host=uc_options.web_server_fqdn,
            port=uc_options.web_server_port,
            path=path,
            message=message,
        )
        event = HttpReceived(exchange_id=1, request=request, peer="127.20.16.1")
        (reply,) = web.handle(event, 60)
        return reply.response.message

    path = uc_options.cert_prov_rel_path
    provisioning = post(GetMetadata(), f"{path}/mex").port(PROOF_PORT)
    tickets = post(GetMetadata(), f"{parse_url(provisioning.issuer).path}/mex").port(PIN_PORT)
    assert post(GetRootCertChains(), path).chain == authority.chain()
    ticket = post(
        RequestSecurityToken(
            context="c",
            applies_to=provisioning.location,
            credential=PinCredential(number="+142555500001", pin="8000014"),
            entropy=bytes(32),
        ),
        parse_url(tickets.location).path,
    )
    entity = ticket.sip_uri.removeprefix("sip:")
    issued = post(
        GetAndPublishCert(
            to=provisioning.location,
            message_id="uuid:1",
            device_id="d",
            entity=entity,
            csr=entity.encode(),
            request_id="r",
            assertion_id=ticket.assertion_id,
            assertion=ticket.assertion,
            created=ticket.created,
            expires=ticket.expires,
            proof=KeyProof(proof_key(bytes(32), ticket.entropy)),
        ),
        parse_url(provisioning.location).path,
    )
    for name in ("lync01", "lync02"):
        registrar = server_of(site, name, "sips")
        accepted = ConnectionAccepted(
            connection_id=1,
            peer="127.20.16.1",
            peer_port=50000,
            transport="tls",
        )
        assert registrar.handle(accepted, 61) == []
        request = SipRequest(
            method="REGISTER",
            uri="sip:contoso.com",
            vias=("SIP/2.0/TLS 127.20.16.1:50000",),
            sender=NameAddress(uri=ticket.sip_uri, tag="t", epid="0123456789"),
            recipient=NameAddress(uri=ticket.sip_uri),
            call_id="c",
            cseq=1,
            contacts=(Contact(uri="sip:127.20.16.1:50000", instance=sip_instance("0123456789")),),
        )

        def send(message, registrar=registrar):
            (answer,) = registrar.handle(SipReceived(connection_id=1, message=message), 61)
            return answer.message

        client = DskClient(send, issued.certificate, name.replace("lync", "fe") + ".contoso.com")
        client.shake(request)
        assert client.verified(send(client.sign(request))).status == 200


def test_a_fault_answers_as_the_registrar_would(authority, build):
    rule = SipStatus(kind="sip-status", target="lync01", status=503, reason="Busy", every_nth=4)
    site = build(rule)
    registrar = server_of(site, "lync01", "sips")
    alice = "sip:alice@contoso.com"
    certificate = authority.issue(b"alice@contoso.com", int(EPOCH) - 10, int(EPOCH) + 10_000)
    site.users.publish(site.users.by_sip_uri(alice), "phone", certificate)
    accepted = ConnectionAccepted(connection_id=1, peer="10.0.0.9", peer_port=5, transport="tls")
    registrar.handle(accepted, 0)

    def send(message):
        answer, *_ = registrar.handle(SipReceived(connection_id=1, message=message), 0)
        return answer.message

    request = SipRequest(
        method="REGISTER",
        uri="sip:contoso.com",
        vias=("SIP/2.0/TLS 10.0.0.9:5",),
        sender=NameAddress(uri=alice, tag="t", epid="0123456789"),
        recipient=NameAddress(uri=alice),
        call_id="c",
        cseq=1,
    )
    client = DskClient(send, certificate, "fe1.contoso.com")
    client.shake(request)
    assert client.verified(send(client.sign(request))).status == 200
    assert client.verified(send(client.sign(request))).status == 503


def test_every_name_of_a_certificate_resolves_to_its_server(authority):
    site = contoso(authority)
    for listener in site.listeners:
        for name in listener.names:
            assert listener.address in resolve(site, name)


@pytest.mark.parametrize("name", names(FAULT))
def test_every_shipped_fault_fits_contoso(authority, name):
    profile = load(FAULT, name)
    assert profile.name == name
    assert profile.description
    contoso(authority, name)


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("no-option-43", {53, 54, 120}),
        ("no-option-120", {53, 54, 43}),
        ("no-sign-in-options", {53, 54}),
        ("wrong-class-answered", {53, 54, 120}),
    ],
)
def test_faults_that_take_options_away(authority, name, codes):
    assert set(inform(contoso(authority, name))) == codes


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("option-43-malformed", "web_server_fqdn"),
        ("option-43-cut", "180"),
        ("option-43-numeric-port", "web_server_port"),
    ],
)
def test_faults_that_spoil_option_43(authority, name, warning):
    options = inform(contoso(authority, name))
    decoded = decode_uc_options(options[Option.VENDOR_SPECIFIC_INFORMATION])
    assert warning in " ".join(decoded.warnings)


def test_the_cut_option_43_is_that_of_a_name_that_exists(authority):
    site = contoso(authority, "option-43-cut")
    value = inform(site)[Option.VENDOR_SPECIFIC_INFORMATION]
    assert len(value.hex()) == 180
    assert resolve(site, decode_uc_options(value).web_server_fqdn) == ["127.20.0.20"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("option-120-malformed", ()), ("option-120-raw-text", ("fe01.contoso.com",))],
)
def test_faults_that_spoil_option_120(authority, name, expected):
    decoded = decode_sip_servers(inform(contoso(authority, name))[Option.SIP_SERVERS])
    assert decoded.warnings
    assert decoded.names == expected


def test_a_registrar_that_users_are_to_move_to_must_exist(build):
    rule = {"kind": "deregister", "event": "deactivated", "at": 1, "registrar": "lync09"}
    with pytest.raises(ProfileError, match="'lync09' is none of the site's; there are: lync01"):
        build(rule)


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "outage", "protocol": "sip"},
        {"kind": "deregister", "event": "rejected", "at": 0},
    ],
)
def test_timed_faults_act_on_the_registrars_that_they_name(build, rule):
    site = build({**rule, "target": "lync01"})
    due = {
        listener.name: listener.server.next_deadline()
        for listener in site.listeners
        if listener.protocol in ("sip", "sips")
    }
    assert due == {"lync01": (0, "a fault is due"), "pbx01": None}
