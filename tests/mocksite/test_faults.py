import msgspec
import pytest

from phonesim.config.fault import (
    CloseConnections,
    Delay,
    DnsRcode,
    DnsTarget,
    HttpStatus,
    IssueForeignCertificate,
    MisdirectInform,
    Refuse,
    RefuseCertificate,
    RefuseDhcp,
    SetDhcpOption,
    SetPresenceState,
    SetSipBody,
    ShiftClock,
    Silence,
    SipStatus,
    SpoilChain,
    StripDhcpOptions,
)
from phonesim.mocksite.exchange import (
    ConnectionAccepted,
    DhcpReceived,
    DnsReceived,
    HttpReceived,
    KeepAliveReceived,
    NtpReceived,
    Report,
    SendDhcpReply,
    SendDnsResponse,
    SendHttpResponse,
    SendNtpReply,
    SendSipToClient,
    ServerTimerExpired,
    SipReceived,
)
from phonesim.mocksite.faults import FaultInjector, is_injected
from phonesim.wire.cert_provisioning import (
    GetAndPublishCertResponse,
    GetRootCertChains,
    GetRootCertChainsResponse,
)
from phonesim.wire.dhcp import DhcpMessage, MessageType
from phonesim.wire.dns import DnsQuery, DnsRecord, DnsResponse, SrvData
from phonesim.wire.http import HttpRequest, HttpResponse
from phonesim.wire.ntp import NtpPacket
from phonesim.wire.sip import Contact, NameAddress, SipRequest, header, response_to

DHCP_OPTIONS = {53: b"\5", 43: b"forty-three", 120: b"one-twenty"}
SRV = DnsRecord("_sip._tls.contoso.com", "SRV", 60, SrvData(10, 5, 443, "fe1.contoso.com"))
ADDRESS = DnsRecord("fe1.contoso.com", "A", 60, "10.0.0.1")
REPORT = Report(text="said at once")


def dhcp(kind=MessageType.DISCOVER):
    message = DhcpMessage(message_type=kind, xid=1, chaddr=bytes(6))
    return DhcpReceived(message=message, source="0.0.0.0", destination="255.255.255.255")


def dhcp_reply(options):
    message = DhcpMessage(message_type=MessageType.ACK, xid=1, chaddr=bytes(6), options=options)
    return SendDhcpReply(message=message, source="s", destination="d", port=68)


def dns(qname="_sip._tls.contoso.com", qtype="SRV"):
    return DnsReceived(query=DnsQuery(id=1, qname=qname, qtype=qtype), client="phone")


def dns_response(*answers, rcode="NOERROR", qname="_sip._tls.contoso.com", **fields):
    fields = {"authoritative": True, **fields}
    response = DnsResponse(id=1, qname=qname, qtype="SRV", rcode=rcode, answers=answers, **fields)
    return SendDnsResponse(response=response, client="phone")


def http(path="/CertProv/Service.svc", scheme="https"):
    request = HttpRequest(
        scheme=scheme, host="web", port=443, path=path, message=GetRootCertChains()
    )
    return HttpReceived(exchange_id=3, request=request, peer="phone")


def sip(method="REGISTER"):
    alice = NameAddress(uri="sip:alice@contoso.com")
    request = SipRequest(
        method=method,
        uri="sip:contoso.com",
        vias=("SIP/2.0/TLS 10.0.0.9",),
        sender=alice,
        recipient=alice,
        call_id="c",
        cseq=1,
    )
    return SipReceived(connection_id=4, message=request)


def ntp():
    return NtpReceived(packet=NtpPacket(mode=3), client="phone")


NTP_REPLY = SendNtpReply(packet=NtpPacket(mode=4), client="phone")


class Echo:
    """A server that gives the same answers to whatever comes, and counts the events."""

    def __init__(self, *answers, deadline=None):
        self.answers = list(answers)
        self.deadline = deadline
        self.seen = 0

    def handle(self, event, now):
        self.seen += 1
        return [] if isinstance(event, ServerTimerExpired) else list(self.answers)

    def next_deadline(self):
        return self.deadline


REQUESTS = {
    "dhcp": dhcp(),
    "dns": dns(),
    "ntp": ntp(),
    "http": http(scheme="http"),
    "https": http(),
    "sip": sip(),
}


@pytest.mark.parametrize("protocol", REQUESTS)
def test_silence_drops_what_it_is_about_and_nothing_else(said, protocol):
    echo = Echo(NTP_REPLY)
    injector = FaultInjector(echo, [Silence(kind="silence", protocol=protocol)])
    for other, event in REQUESTS.items():
        expected = [said("fault silence", is_warning=False)] if other == protocol else [NTP_REPLY]
        assert injector.handle(event, 0) == expected
    assert echo.seen == len(REQUESTS) - 1


@pytest.mark.parametrize(
    ("protocol", "pattern", "dropped", "kept"),
    [
        ("dhcp", "INFORM", dhcp(MessageType.INFORM), dhcp()),
        ("dhcp", "re*", dhcp(MessageType.REQUEST), dhcp()),
        ("dns", "_sip*", dns(), dns("fe1.contoso.com", "A")),
        ("dns", "*.Contoso.COM", dns(), dns("contoso.org")),
        ("https", "/certprov/*", http(), http("/WebTicket")),
        ("https", "*", http(), http(scheme="http")),
        ("sip", "REGISTER", sip(), sip("SUBSCRIBE")),
    ],
)
def test_patterns_choose_what_is_dropped(protocol, pattern, dropped, kept):
    echo = Echo()
    injector = FaultInjector(echo, [Silence(kind="silence", protocol=protocol, match=pattern)])
    injector.handle(dropped, 0)
    assert echo.seen == 0
    injector.handle(kept, 0)
    assert echo.seen == 1


def test_every_nth_event_that_applies_is_dropped():
    echo = Echo()
    rule = Silence(kind="silence", protocol="dhcp", match="DISCOVER", every_nth=3)
    injector = FaultInjector(echo, [rule])
    seen = []
    for _ in range(6):
        injector.handle(dhcp(MessageType.INFORM), 0)
        echo.seen = 0
        injector.handle(dhcp(), 0)
        seen.append(echo.seen)
    assert seen == [1, 1, 0, 1, 1, 0]


def test_options_are_stripped_and_the_server_keeps_its_own(play):
    reply = dhcp_reply(DHCP_OPTIONS)
    rule = StripDhcpOptions(kind="strip-dhcp-options", options=(43, 99))
    stripped = dhcp_reply({53: b"\5", 120: b"one-twenty"})
    play(FaultInjector(Echo(reply), [rule]), [(0, dhcp(), [stripped])])
    assert reply.message.options == DHCP_OPTIONS


def test_only_replies_with_the_option_get_the_other_value(play):
    rule = SetDhcpOption(kind="set-dhcp-option", option=43, value="00ff")
    changed = dhcp_reply({**DHCP_OPTIONS, 43: b"\x00\xff"})
    without = dhcp_reply({53: b"\2"})
    echo = Echo(dhcp_reply(DHCP_OPTIONS), without)
    play(FaultInjector(echo, [rule]), [(0, dhcp(), [changed, without])])


def test_every_nth_answer_that_applies_is_altered(play):
    rule = StripDhcpOptions(kind="strip-dhcp-options", options=(43,), every_nth=2)
    echo = Echo(dhcp_reply(DHCP_OPTIONS))
    injector = FaultInjector(echo, [rule])
    stripped = dhcp_reply({53: b"\5", 120: b"one-twenty"})
    whole = dhcp_reply(DHCP_OPTIONS)
    play(injector, [(0, dhcp(), [whole]), (0, dhcp(), [stripped]), (0, dhcp(), [whole])])


def test_rules_act_in_order(play):
    rules = [
        SetDhcpOption(kind="set-dhcp-option", option=43, value="00"),
        StripDhcpOptions(kind="strip-dhcp-options", options=(120,)),
    ]
    expected = dhcp_reply({53: b"\5", 43: b"\0"})
    play(FaultInjector(Echo(dhcp_reply(DHCP_OPTIONS)), rules), [(0, dhcp(), [expected])])


def test_a_chain_is_replaced_and_nothing_else(play):
    rule = SpoilChain(kind="spoil-chain", chain="empty")
    chain, spoilt = (
        SendHttpResponse(
            exchange_id=1,
            response=HttpResponse(status=200, message=GetRootCertChainsResponse(chain=octets)),
        )
        for octets in (b"good", b"spoilt")
    )
    other = SendHttpResponse(exchange_id=1, response=HttpResponse(status=404))
    injector = FaultInjector(Echo(chain, other), [rule], chains={"empty": b"spoilt"})
    play(injector, [(0, http(), [spoilt, other])])


def test_connections_end_with_each_answer(play):
    rule = CloseConnections(kind="close-connections")
    kept, closed = (
        SendHttpResponse(exchange_id=1, response=HttpResponse(status=401, closes=closes))
        for closes in (False, True)
    )
    reply = dhcp_reply(DHCP_OPTIONS)
    play(FaultInjector(Echo(kept, reply), [rule]), [(0, http(), [closed, reply])])


def test_the_certificate_of_somebody_else_is_issued(play):
    rule = IssueForeignCertificate(kind="issue-foreign-certificate")
    own, foreign = (
        SendHttpResponse(
            exchange_id=1,
            response=HttpResponse(
                status=200,
                message=GetAndPublishCertResponse(
                    certificate=octets, device_id="d", entity="alice@contoso.com"
                ),
            ),
        )
        for octets in (b"own", b"foreign")
    )
    other = SendHttpResponse(exchange_id=1, response=HttpResponse(status=404))
    injector = FaultInjector(Echo(own, other), [rule], foreign=b"foreign")
    play(injector, [(0, http(), [foreign, other])])


INFORM_ACK = SendDhcpReply(
    message=DhcpMessage(
        message_type=MessageType.ACK,
        xid=1,
        chaddr=bytes(6),
        ciaddr="10.0.0.9",
        options={53: b"\5", 54: b"\n\0\0\1", 43: b"forty-three"},
    ),
    source="10.0.0.1",
    destination="10.0.0.9",
    port=68,
)
LEASE_ACK = msgspec.structs.replace(
    INFORM_ACK,
    message=msgspec.structs.replace(INFORM_ACK.message, ciaddr="0.0.0.0", yiaddr="10.0.0.9"),
)


@pytest.mark.parametrize(("request_name", "refused"), [("inform", 0), ("request", 1)])
def test_the_ack_of_one_kind_of_request_becomes_a_nak(request_name, refused):
    rule = RefuseDhcp(kind="dhcp-nak", request=request_name, message="go away")
    acks = [INFORM_ACK, LEASE_ACK]
    answers = FaultInjector(Echo(*acks), [rule]).handle(dhcp(), 0)
    assert answers[1 - refused] == acks[1 - refused]
    nak = answers[refused]
    assert (nak.destination, nak.port, nak.source) == ("255.255.255.255", 68, "10.0.0.1")
    assert nak.message.message_type is MessageType.NAK
    assert (nak.message.ciaddr, nak.message.yiaddr) == ("0.0.0.0", "0.0.0.0")
    assert nak.message.options == {53: b"\6", 56: b"go away", 54: b"\n\0\0\1"}


def test_a_nak_to_a_relay_agent_goes_there():
    relayed = msgspec.structs.replace(INFORM_ACK.message, giaddr="10.1.0.1")
    reply = msgspec.structs.replace(INFORM_ACK, message=relayed, destination="10.1.0.1", port=67)
    rule = RefuseDhcp(kind="dhcp-nak", request="inform")
    (nak,) = FaultInjector(Echo(reply), [rule]).handle(dhcp(), 0)
    assert (nak.destination, nak.port) == ("10.1.0.1", 67)


def test_the_answer_to_an_inform_goes_elsewhere_and_a_lease_does_not():
    wrong_port = MisdirectInform(kind="inform-astray", port=67)
    answers = FaultInjector(Echo(INFORM_ACK, LEASE_ACK), [wrong_port]).handle(dhcp(), 0)
    assert answers == [msgspec.structs.replace(INFORM_ACK, port=67), LEASE_ACK]
    elsewhere = MisdirectInform(kind="inform-astray", address="10.0.0.77")
    answers = FaultInjector(Echo(INFORM_ACK), [elsewhere]).handle(dhcp(), 0)
    assert answers == [msgspec.structs.replace(INFORM_ACK, destination="10.0.0.77")]


def test_a_clock_is_wrong_by_seconds_and_what_the_client_sent_is_not():
    then = NtpPacket(mode=4, originate=7, receive=100 << 32, transmit=(100 << 32) + 5)
    rule = ShiftClock(kind="clock-shift", seconds=-60)
    reply = SendNtpReply(packet=then, client="phone")
    (answer,) = FaultInjector(Echo(reply), [rule]).handle(ntp(), 0)
    packet = answer.packet
    assert (packet.originate, packet.receive, packet.transmit) == (7, 40 << 32, (40 << 32) + 5)


def test_a_certificate_is_refused_with_a_fault_and_a_chain_is_not():
    issued = GetAndPublishCertResponse(certificate=b"c", device_id="d", entity="e")
    chain = GetRootCertChainsResponse(chain=b"chain")
    rule = RefuseCertificate(kind="refuse-certificate", reason="no data store", error_id=28099)
    replies = [
        SendHttpResponse(exchange_id=3, response=HttpResponse(status=200, message=message))
        for message in (issued, chain)
    ]
    refused, other = FaultInjector(Echo(*replies), [rule]).handle(http(), 0)
    assert other == replies[1]
    fault = refused.response.message
    assert (refused.response.status, fault.reason, fault.error_id) == (500, "no data store", 28099)


@pytest.mark.parametrize(
    ("rcode", "is_authoritative"),
    [("NXDOMAIN", True), ("NOERROR", True), ("SERVFAIL", False), ("REFUSED", False)],
)
def test_an_rcode_takes_the_answer_s_place(play, said, rcode, is_authoritative):
    rule = DnsRcode(kind="dns-rcode", rcode=rcode, match="_sip*")
    injector = FaultInjector(Echo(dns_response(SRV)), [rule])
    expected = dns_response(rcode=rcode, authoritative=is_authoritative)
    play(
        injector,
        [
            (0, dns(), [expected, said("fault dns-rcode", is_warning=False)]),
            (0, dns("fe1.contoso.com"), [dns_response(SRV)]),
        ],
    )


def test_srv_targets_are_replaced(play):
    rule = DnsTarget(kind="dns-target", target_name="Old.contoso.com.", match="_sip*")
    redirected = DnsRecord(SRV.name, "SRV", 60, SrvData(10, 5, 443, "old.contoso.com"))
    other = dns_response(SRV, qname="_ntp._udp.contoso.com")
    none = dns_response(ADDRESS)
    echo = Echo(dns_response(SRV, ADDRESS), other, none)
    play(
        FaultInjector(echo, [rule]),
        [(0, dns(), [dns_response(redirected, ADDRESS), other, none])],
    )


def test_a_status_takes_the_place_of_a_web_service(play, said):
    rule = HttpStatus(kind="http-status", status=503, match="/certprov/*", retry_after=30)
    genuine = SendHttpResponse(exchange_id=3, response=HttpResponse(status=200))
    unavailable = SendHttpResponse(exchange_id=3, response=HttpResponse(status=503, retry_after=30))
    report = said("fault http-status", is_warning=False)
    play(
        FaultInjector(Echo(genuine), [rule]),
        [
            (0, http(), [unavailable, report]),
            (0, http(scheme="http"), [unavailable, report]),
            (0, http("/other"), [genuine]),
        ],
    )


def test_a_status_takes_the_place_of_a_registrar():
    rule = SipStatus(kind="sip-status", status=403, reason="No", diagnostics="4004;reason=x")
    echo = Echo()
    injector = FaultInjector(echo, [rule])
    sent, _ = injector.handle(sip(), 0)
    assert isinstance(sent, SendSipToClient)
    assert (sent.connection_id, sent.message.status, sent.message.reason) == (4, 403, "No")
    assert header(sent.message, "ms-diagnostics") == "4004;reason=x"
    assert sent.message.recipient.tag
    injector.handle(sip("SUBSCRIBE"), 0)
    assert echo.seen == 1


def test_a_status_can_redirect_ask_for_patience_begin_late_and_mean_another_method():
    rule = SipStatus(
        kind="sip-status",
        status=301,
        reason="Moved",
        contact="sip:fe02",
        retry_after=30,
        match="subscribe",
        begins_at=10,
    )
    echo = Echo()
    injector = FaultInjector(echo, [rule])
    injector.handle(sip(), 20)
    injector.handle(sip("SUBSCRIBE"), 9)
    assert echo.seen == 2
    sent, _ = injector.handle(sip("SUBSCRIBE"), 10)
    assert sent.message.contacts == (Contact(uri="sip:fe02"),)
    assert header(sent.message, "Retry-After") == "30"


def sip_answer(*headers, body=b""):
    response = response_to(sip().message, 200, "OK", headers=headers)
    message = msgspec.structs.replace(response, body=body)
    return SendSipToClient(connection_id=4, message=message)


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"register_action": "added"}, 'register-action="added";x="y"'),
        (
            {"user_services": "unavailable"},
            'register-action="refreshed";x="y";user-services-state=unavailable',
        ),
    ],
)
def test_a_presence_state_is_altered_where_there_is_one(changes, value):
    rule = SetPresenceState(kind="presence-state", **changes)
    other = ("Server", "RTC/4.0")
    genuine = sip_answer(("presence-state", 'register-action="refreshed";x="y"'), other)
    (sent,) = FaultInjector(Echo(genuine), [rule]).handle(sip(), 0)
    assert sent.message.headers == (("presence-state", value), other)
    without = sip_answer(other)
    assert FaultInjector(Echo(without), [rule]).handle(sip(), 0) == [without]


def test_a_body_is_replaced_where_there_is_one():
    rule = SetSipBody(kind="sip-body", body="<x")
    (sent,) = FaultInjector(Echo(sip_answer(body=b"<y/>")), [rule]).handle(sip(), 0)
    assert sent.message.body == b"<x"
    without = sip_answer()
    assert FaultInjector(Echo(without), [rule]).handle(sip(), 0) == [without]


def test_answers_are_held_back_and_reports_are_not(play):
    injector = FaultInjector(
        Echo(NTP_REPLY, REPORT), [Delay(kind="delay", protocol="ntp", seconds=2)]
    )
    assert injector.next_deadline() is None
    play(injector, [(0, ntp(), [REPORT]), (0.5, ntp(), [REPORT])])
    assert injector.next_deadline() == (2, "answer held back by a fault")
    play(
        injector,
        [
            (1.9, ServerTimerExpired(), []),
            (2, ServerTimerExpired(), [NTP_REPLY]),
            (2.6, ntp(), [NTP_REPLY, REPORT]),
        ],
    )
    assert injector.next_deadline() == (4.6, "answer held back by a fault")


def test_answers_held_back_keep_their_order(play):
    first, second = dns_response(SRV), dns_response(ADDRESS)
    injector = FaultInjector(Echo(first, second), [Delay(kind="delay", protocol="dns", seconds=1)])
    play(injector, [(0, dns(), []), (1, ServerTimerExpired(), [first, second])])


def test_delays_add_up_and_hold_back_other_faults_too(play, said):
    rules = [
        Delay(kind="delay", protocol="dns", seconds=1),
        Delay(kind="delay", protocol="dns", seconds=2, match="_sip*"),
        DnsRcode(kind="dns-rcode", rcode="SERVFAIL"),
    ]
    injector = FaultInjector(Echo(), rules)
    play(injector, [(0, dns(), [said("fault dns-rcode", is_warning=False)])])
    assert injector.next_deadline()[0] == 3
    play(injector, [(0, dns("fe1.contoso.com"), [said("dns-rcode", is_warning=False)])])
    assert injector.next_deadline()[0] == 1


def test_the_sooner_deadline_counts():
    delay = Delay(kind="delay", protocol="ntp", seconds=2)
    for deadline, expected in ((1.0, 1.0), (5.0, 2.0)):
        injector = FaultInjector(Echo(NTP_REPLY, deadline=(deadline, "own")), [delay])
        assert injector.next_deadline() == (deadline, "own")
        injector.handle(ntp(), 0)
        assert injector.next_deadline()[0] == expected


def test_what_is_no_request_passes():
    rules = [
        Silence(kind="silence", protocol="sip"),
        Delay(kind="delay", protocol="sip", seconds=9),
    ]
    echo = Echo(NTP_REPLY)
    injector = FaultInjector(echo, rules)
    for event in (
        ConnectionAccepted(connection_id=1, peer="p", peer_port=1, transport="tls"),
        KeepAliveReceived(connection_id=1),
    ):
        assert injector.handle(event, 0) == [NTP_REPLY]


def test_rules_about_listeners_are_not_the_injector_s():
    assert is_injected(Silence(kind="silence", protocol="dns"))
    assert not is_injected(Refuse(kind="refuse", protocol="sip"))


def test_a_fault_that_passes_acts_in_its_time_only():
    rule = Silence(kind="silence", protocol="sip", begins_at=10, lasts=5)
    echo = Echo()
    injector = FaultInjector(echo, [rule])
    heard = []
    for now in (9, 10, 14, 15):
        injector.handle(sip(), now)
        heard.append(echo.seen)
    assert heard == [1, 1, 1, 2]


def test_answers_are_altered_in_the_time_of_a_fault_only(play):
    rule = StripDhcpOptions(kind="strip-dhcp-options", options=(43,), begins_at=10, lasts=5)
    whole = dhcp_reply(DHCP_OPTIONS)
    stripped = dhcp_reply({53: b"\5", 120: b"one-twenty"})
    play(
        FaultInjector(Echo(whole), [rule]),
        [(9, dhcp(), [whole]), (10, dhcp(), [stripped]), (15, dhcp(), [whole])],
    )
