from ipaddress import IPv4Address

import msgspec
import pytest

from phonesim.config.site_profile import DhcpServerConfig, Scope, SignInOptions
from phonesim.mocksite.dhcp_server import DECLINED_TIME, OFFER_TIME, DhcpServer
from phonesim.mocksite.exchange import DhcpReceived, MalformedArrived, SendDhcpReply
from phonesim.wire.dhcp import (
    BOOTREPLY,
    BROADCAST,
    BROADCAST_FLAG,
    UNSPECIFIED,
    DhcpMessage,
    MessageType,
    Option,
    encode_addresses,
    encode_u32,
)
from phonesim.wire.domain_search import decode_domain_search
from phonesim.wire.provisioning import decode_sip_servers, decode_uc_options

SERVER = "10.0.0.2"
OTHER_SERVER = "10.0.0.3"
MAC = bytes.fromhex("0004f2000001")
OTHER_MAC = bytes.fromhex("0004f2000002")
LEASE_TIME = 3600

SCOPE = Scope(
    subnet="10.0.0.0/24",
    first="10.0.0.100",
    last="10.0.0.103",
    lease_time=LEASE_TIME,
    routers=["10.0.0.1"],
    dns_servers=["10.0.0.53", "10.0.0.54"],
    ntp_servers=["10.0.0.123"],
    domain="contoso.com",
)
SIGN_IN = SignInOptions(
    web_server_fqdn="web.contoso.com", registrars=("fe1.contoso.com", "fe2.contoso.com")
)
LEASE_OPTIONS = {
    Option.SERVER_IDENTIFIER: encode_addresses([SERVER]),
    Option.IP_ADDRESS_LEASE_TIME: encode_u32(LEASE_TIME),
    Option.RENEWAL_TIME: encode_u32(LEASE_TIME // 2),
    Option.REBINDING_TIME: encode_u32(LEASE_TIME * 7 // 8),
    Option.SUBNET_MASK: encode_addresses(["255.255.255.0"]),
}


def new_server(**changes):
    values = {"name": "dhcp01", "address": SERVER, "scope": SCOPE, "sign_in": SIGN_IN}
    return DhcpServer(DhcpServerConfig(**{**values, **changes}))


def received(
    kind,
    *,
    mac=MAC,
    requested=None,
    server=None,
    asked=b"",
    vendor_class=None,
    client_id=None,
    source=UNSPECIFIED,
    destination=BROADCAST,
    **fields,
):
    options = {Option.DHCP_MESSAGE_TYPE: bytes([kind])}
    if requested is not None:
        options[Option.REQUESTED_IP_ADDRESS] = encode_addresses([requested])
    if server is not None:
        options[Option.SERVER_IDENTIFIER] = encode_addresses([server])
    if asked:
        options[Option.PARAMETER_REQUEST_LIST] = bytes(asked)
    if vendor_class is not None:
        options[Option.VENDOR_CLASS_IDENTIFIER] = vendor_class
    if client_id is not None:
        options[Option.CLIENT_IDENTIFIER] = client_id
    message = DhcpMessage(message_type=kind, xid=7, chaddr=mac, options=options, **fields)
    return DhcpReceived(message=message, source=source, destination=destination)


def discover(**fields):
    return received(MessageType.DISCOVER, **fields)


def request(**fields):
    return received(MessageType.REQUEST, **fields)


def inform(**fields):
    fields.setdefault("ciaddr", "10.0.0.100")
    return received(MessageType.INFORM, source="10.0.0.100", **fields)


def reply(kind, address, *, mac=MAC, destination=None, options=LEASE_OPTIONS, port=68, **fields):
    message = DhcpMessage(
        op=BOOTREPLY,
        message_type=kind,
        xid=7,
        chaddr=mac,
        yiaddr=address,
        options={Option.DHCP_MESSAGE_TYPE: bytes([kind]), **options},
        **fields,
    )
    return SendDhcpReply(
        message=message, source=SERVER, destination=destination or address, port=port
    )


def offer(address, **fields):
    return reply(MessageType.OFFER, address, **fields)


def ack(address, **fields):
    return reply(MessageType.ACK, address, **fields)


def kinds(actions):
    return [
        action.message.message_type.name for action in actions if isinstance(action, SendDhcpReply)
    ]


def bind(server, now=0.0, **fields):
    """Take a lease by DISCOVER and REQUEST; return its address."""
    (offered,) = server.handle(discover(**fields), now)
    address = offered.message.yiaddr
    (acked,) = server.handle(request(requested=address, server=SERVER, **fields), now)
    assert acked.message.message_type is MessageType.ACK
    return address


def test_a_client_gets_a_lease(play):
    play(
        new_server(),
        [
            (0, discover(), [offer("10.0.0.100")]),
            (1, request(requested="10.0.0.100", server=SERVER), [ack("10.0.0.100")]),
        ],
    )


def test_only_options_asked_for_are_returned_in_the_order_asked():
    asked = (15, 6, 3, 42, 44, 119)
    (offered,) = new_server().handle(discover(asked=asked), 0)
    assert list(offered.message.options.items()) == [
        (Option.DHCP_MESSAGE_TYPE, bytes([MessageType.OFFER])),
        *LEASE_OPTIONS.items(),
        (Option.DOMAIN_NAME, b"contoso.com"),
        (Option.DOMAIN_NAME_SERVER, encode_addresses(["10.0.0.53", "10.0.0.54"])),
        (Option.ROUTER, encode_addresses(["10.0.0.1"])),
        (Option.NTP_SERVERS, encode_addresses(["10.0.0.123"])),
    ]


def test_a_search_list_goes_to_those_who_ask_for_it():
    domains = ("eu.contoso.com", "contoso.com")
    scope = Scope(**{**SCOPE.model_dump(), "domain_search": domains})
    (offered,) = new_server(scope=scope).handle(discover(asked=(119,)), 0)
    assert decode_domain_search(offered.message.options[Option.DOMAIN_SEARCH]) == domains


def test_an_inform_is_answered_without_a_lease(play):
    answer = ack(
        UNSPECIFIED,
        destination="10.0.0.100",
        ciaddr="10.0.0.100",
        options={
            Option.SERVER_IDENTIFIER: encode_addresses([SERVER]),
            Option.DOMAIN_NAME: b"contoso.com",
        },
    )
    play(new_server(), [(0, inform(asked=(15,)), [answer])])


@pytest.mark.parametrize(
    ("vendor_class", "web_server", "vlan"),
    [
        (b"MS-UC-Client", "web.contoso.com", None),
        (b"ms-uc-client", None, None),
        (b"MS-UC-Client2", None, None),
        (None, None, None),
        (b"CPE-OCPHONE", None, 20),
        (b"CPE-OCPhone", None, 20),
    ],
)
def test_option_43_is_given_by_class_and_option_120_to_anyone(vendor_class, web_server, vlan):
    server = new_server(vlan_id=20)
    (answer,) = server.handle(inform(asked=(43, 120), vendor_class=vendor_class), 0)
    options = answer.message.options
    names = decode_sip_servers(options[Option.SIP_SERVERS]).names
    assert names == ("fe1.contoso.com", "fe2.contoso.com")
    value = options.get(Option.VENDOR_SPECIFIC_INFORMATION)
    if web_server is None and vlan is None:
        assert value is None
    else:
        decoded = decode_uc_options(value)
        assert (decoded.web_server_fqdn, decoded.vlan_id) == (web_server, vlan)


def test_the_vlan_option_is_not_given_when_there_is_no_vlan():
    (answer,) = new_server().handle(discover(asked=(43,), vendor_class=b"CPE-OCPHONE"), 0)
    assert Option.VENDOR_SPECIFIC_INFORMATION not in answer.message.options


@pytest.mark.parametrize("changes", [{}, {"vlan_id": 20}])
def test_the_vlan_option_can_be_any_octets(changes):
    server = new_server(vlan_option="0064", **changes)
    (answer,) = server.handle(discover(asked=(43,), vendor_class=b"CPE-OCPHONE"), 0)
    assert answer.message.options[Option.VENDOR_SPECIFIC_INFORMATION] == b"\x0a\x02\x00\x64"


def test_the_sign_in_options_are_not_given_unasked():
    (answer,) = new_server().handle(inform(vendor_class=b"MS-UC-Client"), 0)
    assert set(answer.message.options) == {Option.DHCP_MESSAGE_TYPE, Option.SERVER_IDENTIFIER}


def test_a_site_without_sign_in_options_gives_none():
    server = new_server(sign_in=SignInOptions())
    (answer,) = server.handle(inform(asked=(43, 120), vendor_class=b"MS-UC-Client"), 0)
    assert set(answer.message.options) == {Option.DHCP_MESSAGE_TYPE, Option.SERVER_IDENTIFIER}


def test_a_registrar_answers_the_inform_of_its_class_and_nothing_else(play):
    sip_servers = bytes.fromhex("000366653107636f6e746f736f03636f6d00")
    answer = ack(
        UNSPECIFIED,
        destination="10.9.9.9",
        ciaddr="10.9.9.9",
        options={
            Option.SERVER_IDENTIFIER: encode_addresses([SERVER]),
            Option.SIP_SERVERS: sip_servers,
        },
    )
    play(
        new_server(scope=None, sign_in=SignInOptions(registrars=("fe1.contoso.com",))),
        [
            (0, discover(), []),
            (0, request(requested="10.0.0.100"), []),
            (0, inform(asked=(120,)), []),
            (0, inform(asked=(120,), vendor_class=b"ms-uc-client"), []),
            (
                0,
                inform(asked=(120,), vendor_class=b"MS-UC-Client", ciaddr="10.9.9.9"),
                [answer],
            ),
        ],
    )


@pytest.mark.parametrize(
    ("fields", "destination", "port"),
    [
        ({}, "10.0.0.100", 68),
        ({"flags": BROADCAST_FLAG}, BROADCAST, 68),
        ({"giaddr": "10.0.0.1"}, "10.0.0.1", 67),
        ({"giaddr": "10.0.0.1", "flags": BROADCAST_FLAG}, "10.0.0.1", 67),
    ],
)
def test_an_offer_goes_where_the_client_can_take_it(play, fields, destination, port):
    expected = offer("10.0.0.100", destination=destination, port=port, **fields)
    play(new_server(), [(0, discover(**fields), [expected])])


@pytest.mark.parametrize(
    ("fields", "destination", "port"),
    [
        ({"ciaddr": "10.0.0.100"}, "10.0.0.100", 68),
        ({"ciaddr": "10.0.0.100", "giaddr": "10.0.0.1"}, "10.0.0.100", 68),
        ({"ciaddr": UNSPECIFIED, "giaddr": "10.0.0.1"}, "10.0.0.1", 67),
        ({"ciaddr": UNSPECIFIED}, "10.0.0.100", 68),
    ],
)
def test_an_inform_is_answered_at_its_sender(fields, destination, port):
    (answer,) = new_server().handle(inform(**fields), 0)
    assert (answer.destination, answer.port) == (destination, port)


def test_an_inform_from_nowhere_or_elsewhere_is_dropped(play, said):
    nowhere = received(MessageType.INFORM)
    play(
        new_server(),
        [
            (0, nowhere, [said("INFORM without an address")]),
            (0, inform(ciaddr="192.168.1.1"), [said("no scope for the address")]),
        ],
    )


@pytest.mark.parametrize("destination", [BROADCAST, SERVER])
def test_a_lease_is_renewed_at_ciaddr(play, destination):
    server = new_server()
    address = bind(server)
    renewal = request(ciaddr=address, source=address, destination=destination)
    play(server, [(1800, renewal, [ack(address, ciaddr=address)])])
    # Until now + lease time nobody else gets the address, though its first lease is over.
    others = [bind(server, 3700, mac=bytes([2, 0, 0, 0, 0, n])) for n in range(3)]
    assert address not in others
    assert kinds(server.handle(discover(mac=OTHER_MAC), 5399)) == []
    assert server.handle(discover(mac=OTHER_MAC), 5401)[0].message.yiaddr == address


def test_a_client_that_reboots_is_confirmed(play):
    server = new_server()
    address = bind(server)
    play(server, [(10, request(requested=address), [ack(address)])])


def test_a_client_that_asks_for_another_address_than_its_own_is_told_no(said):
    server = new_server()
    bind(server)
    for event in (request(requested="10.0.0.103"), request(ciaddr="10.0.0.103")):
        nak, report = server.handle(event, 1)
        assert nak.message.message_type is MessageType.NAK
        assert nak.message.yiaddr == UNSPECIFIED
        assert (nak.destination, nak.port) == (BROADCAST, 68)
        assert nak.message.options[Option.SERVER_IDENTIFIER] == encode_addresses([SERVER])
        assert report == said("NAK: the lease is for 10.0.0.100")


def test_a_reboot_on_another_network_is_told_no(said):
    for server in (new_server(), new_server(authoritative=True)):
        nak, report = server.handle(request(requested="192.168.1.50"), 0)
        assert nak.message.message_type is MessageType.NAK
        assert report == said("another network")


def test_a_relayed_nak_is_broadcast_by_the_relay():
    nak, _ = new_server().handle(request(requested="192.168.1.50", giaddr="10.0.0.1"), 0)
    assert (nak.destination, nak.port) == ("10.0.0.1", 67)
    assert nak.message.is_broadcast


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"requested": "10.0.0.101"}, "INIT-REBOOT"),
        ({"ciaddr": "10.0.0.101"}, "REBINDING"),
        ({"ciaddr": "10.0.0.101", "destination": SERVER}, "RENEWING"),
    ],
)
def test_an_unknown_client_meets_silence_unless_the_server_is_authoritative(
    play, said, fields, state
):
    play(new_server(), [(0, request(**fields), [said(f"{state} of an unknown client")])])
    actions = new_server(authoritative=True).handle(request(**fields), 0)
    assert kinds(actions) == ["NAK"]


def test_a_request_for_what_was_not_offered_is_told_no():
    server = new_server()
    server.handle(discover(), 0)
    assert kinds(server.handle(request(requested="10.0.0.102", server=SERVER), 1)) == ["NAK"]
    stranger = request(requested="10.0.0.102", server=SERVER, mac=OTHER_MAC)
    assert kinds(server.handle(stranger, 1)) == ["NAK"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"server": SERVER}, "without one clear address"),
        (
            {"server": SERVER, "requested": "10.0.0.100", "ciaddr": "10.0.0.100"},
            "without one clear address",
        ),
        ({"requested": "10.0.0.100", "ciaddr": "10.0.0.100"}, "both option 50 and ciaddr"),
        ({}, "without an address"),
        ({"requested": "10.0.0.100", "giaddr": "192.168.1.1"}, "relay's subnet"),
        ({"requested": "10.0.0.100", "op": BOOTREPLY}, "no BOOTREQUEST"),
    ],
)
def test_a_request_that_the_table_does_not_know_is_dropped(play, said, fields, text):
    play(new_server(), [(0, request(**fields), [said(text)])])


def test_an_address_of_the_wrong_length_is_dropped(play, said):
    message = DhcpMessage(
        message_type=MessageType.REQUEST,
        xid=7,
        chaddr=MAC,
        options={Option.REQUESTED_IP_ADDRESS: b"\x0a\x00"},
    )
    event = DhcpReceived(message=message, source=UNSPECIFIED, destination=BROADCAST)
    play(new_server(), [(0, event, [said("option 50 is not 4 octets")])])


def test_an_offer_that_another_server_won_is_free_again(play, said):
    play(
        new_server(),
        [
            (0, discover(), [offer("10.0.0.100")]),
            (
                1,
                request(requested="10.0.0.200", server=OTHER_SERVER),
                [said("another server's offer", is_warning=False)],
            ),
            (
                2,
                discover(mac=OTHER_MAC, requested="10.0.0.100"),
                [offer("10.0.0.100", mac=OTHER_MAC)],
            ),
        ],
    )


def test_a_lease_outlives_the_choice_of_another_server(play):
    server = new_server()
    address = bind(server)
    play(
        server,
        [
            (1, discover(), [offer(address)]),
            (2, request(requested="10.0.0.200", server=OTHER_SERVER), []),
            (3, request(requested=address), [ack(address)]),
        ],
    )


def test_an_offer_is_kept_for_a_while(play, said):
    server = new_server()
    macs = [bytes([2, 0, 0, 0, 0, n]) for n in range(5)]
    for n in range(4):
        assert server.handle(discover(mac=macs[n]), 0)[0].message.yiaddr == f"10.0.0.{100 + n}"
    play(
        server,
        [
            (OFFER_TIME - 1, discover(mac=macs[4]), [said("exhausted")]),
            (OFFER_TIME, discover(mac=macs[4]), [offer("10.0.0.100", mac=macs[4])]),
        ],
    )


def test_a_repeated_discover_gets_the_same_offer_and_keeps_it_longer():
    server = new_server()
    server.handle(discover(), 0)
    assert server.handle(discover(), OFFER_TIME - 1)[0].message.yiaddr == "10.0.0.100"
    taken = server.handle(discover(mac=OTHER_MAC, requested="10.0.0.100"), OFFER_TIME + 1)
    assert taken[0].message.yiaddr == "10.0.0.101"


def test_a_requested_address_is_honoured_if_it_is_free():
    server = new_server()
    assert server.handle(discover(requested="10.0.0.102"), 0)[0].message.yiaddr == "10.0.0.102"
    other = server.handle(discover(requested="10.0.0.102", mac=OTHER_MAC), 0)
    assert other[0].message.yiaddr == "10.0.0.100"
    outside = server.handle(discover(requested="10.0.0.200", mac=b"\2\0\0\0\0\3"), 0)
    assert outside[0].message.yiaddr == "10.0.0.101"
    # 10.0.0.102 is passed over when fresh addresses reach it.
    last = server.handle(discover(mac=b"\2\0\0\0\0\4"), 0)
    assert last[0].message.yiaddr == "10.0.0.103"


def test_a_client_is_known_by_its_identifier_before_its_hardware_address():
    server = new_server()
    address = bind(server, client_id=b"\1phone")
    moved = server.handle(discover(client_id=b"\1phone", mac=OTHER_MAC), 1)
    assert moved[0].message.yiaddr == address
    assert server.handle(discover(client_id=b"\1other"), 1)[0].message.yiaddr != address


def test_a_client_gets_its_address_again_after_release_and_after_expiry():
    server = new_server()
    address = bind(server)
    release = received(MessageType.RELEASE, ciaddr=address, server=SERVER, destination=SERVER)
    assert server.handle(release, 10) == []
    assert bind(server, 20, mac=OTHER_MAC) != address
    assert bind(server, 30) == address
    assert bind(server, 30 + 2 * LEASE_TIME) == address


def test_a_released_address_is_given_out_when_no_fresh_one_is_left():
    server = new_server()
    macs = [bytes([2, 0, 0, 0, 0, n]) for n in range(5)]
    addresses = [bind(server, mac=mac) for mac in macs[:4]]
    assert kinds(server.handle(discover(mac=macs[4]), 1)) == []
    release = received(MessageType.RELEASE, mac=macs[2], ciaddr=addresses[2], server=SERVER)
    server.handle(release, 2)
    assert bind(server, 3, mac=macs[4]) == addresses[2]
    assert kinds(server.handle(discover(mac=macs[2]), 4)) == []


def test_the_address_that_is_free_for_longest_is_given_out_first():
    server = new_server()
    macs = [bytes([2, 0, 0, 0, 0, n]) for n in range(6)]
    addresses = [bind(server, now=n, mac=mac) for n, mac in enumerate(macs[:4])]
    server.handle(request(mac=macs[0], ciaddr=addresses[0]), 1000)
    late = LEASE_TIME + 500
    assert bind(server, late, mac=macs[4]) == addresses[1]
    assert bind(server, late, mac=macs[5]) == addresses[2]


def test_releases_of_others_addresses_are_refused(play, said):
    server = new_server()
    address = bind(server)
    kind = MessageType.RELEASE
    play(
        server,
        [
            (1, received(kind, ciaddr=address, server=OTHER_SERVER), []),
            (1, received(kind, ciaddr="10.0.0.103", server=SERVER), [said("does not hold")]),
            (
                1,
                received(kind, ciaddr=address, server=SERVER, mac=OTHER_MAC),
                [said("does not hold")],
            ),
            (2, request(requested=address), [ack(address)]),
        ],
    )


def test_a_declined_address_is_quarantined(play, said):
    server = new_server()
    address = bind(server)
    decline = received(MessageType.DECLINE, requested=address, server=SERVER)
    play(
        server,
        [
            (1, decline, [said("another host uses the address")]),
            (2, decline, [said("does not hold")]),
            (3, discover(requested=address), [offer("10.0.0.101")]),
        ],
    )
    others = [bind(server, 4, mac=bytes([2, 0, 0, 0, 0, n])) for n in range(2)]
    assert address not in others
    assert kinds(server.handle(discover(mac=OTHER_MAC), 5)) == []
    assert bind(server, 1 + DECLINED_TIME, mac=OTHER_MAC) == address


def test_a_decline_for_another_server_is_none_of_ours(play):
    server = new_server()
    address = bind(server)
    decline = received(MessageType.DECLINE, requested=address, server=OTHER_SERVER)
    play(server, [(1, decline, []), (2, request(requested=address), [ack(address)])])


def test_what_only_servers_send_is_dropped(play, said):
    play(
        new_server(),
        [
            (0, received(MessageType.OFFER), [said("server's OFFER")]),
            (
                0,
                MalformedArrived(protocol="dhcp", source="10.0.0.7", reason="no cookie"),
                [said("malformed")],
            ),
        ],
    )


def test_a_large_scope_leases_every_address_once():
    scope = SCOPE.model_copy(
        update={
            "first": IPv4Address("10.0.0.100"),
            "last": IPv4Address("10.0.0.250"),
        }
    )
    server = new_server(scope=scope)
    addresses = {bind(server, mac=bytes([2, 0, 0, 0, 0, n])) for n in range(151)}
    assert len(addresses) == 151
    assert kinds(server.handle(discover(), 1)) == []


def test_reports_name_the_client():
    (report,) = new_server().handle(request(requested="10.0.0.101"), 0)
    assert dict(report.fields) == {
        "client": "00-04-F2-00-00-01",
        "message": "REQUEST",
        "requested": "10.0.0.101",
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"first": "10.0.1.1"}, "is not within subnet"),
        ({"first": "10.0.0.103", "last": "10.0.0.100"}, "comes after"),
    ],
)
def test_a_scope_that_makes_no_sense_is_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        Scope(**{"subnet": "10.0.0.0/24", "first": "10.0.0.1", "last": "10.0.0.9", **changes})


def test_a_server_waits_for_nothing():
    assert new_server().next_deadline() is None


BRANCH = Scope(
    subnet="10.5.0.0/24", first="10.5.0.50", last="10.5.0.60", lease_time=60, routers=["10.5.0.1"]
)
RELAYED = {"giaddr": "10.5.0.1"}


def relayed_server(**changes):
    return new_server(relayed_scopes=[BRANCH], authoritative=True, **changes)


def test_the_giaddr_chooses_the_scope_and_its_options():
    server = relayed_server()
    (far,) = server.handle(discover(asked=[3], **RELAYED), 0)
    (near,) = server.handle(discover(asked=[3]), 0)
    assert (far.message.yiaddr, far.destination, far.port) == ("10.5.0.50", "10.5.0.1", 67)
    assert far.message.options[Option.ROUTER] == encode_addresses(["10.5.0.1"])
    assert far.message.options[Option.IP_ADDRESS_LEASE_TIME] == encode_u32(60)
    assert (near.message.yiaddr, near.message.options[Option.ROUTER]) == (
        "10.0.0.100",
        encode_addresses(["10.0.0.1"]),
    )


def test_what_a_relayed_client_sends_by_unicast_is_about_its_own_scope():
    server = relayed_server()
    server.handle(discover(**RELAYED), 0)
    server.handle(request(requested="10.5.0.50", server=SERVER, **RELAYED), 0)
    (renewed,) = server.handle(request(ciaddr="10.5.0.50", destination=SERVER), 30)
    assert (renewed.message.yiaddr, renewed.destination) == ("10.5.0.50", "10.5.0.50")
    released = received(MessageType.RELEASE, ciaddr="10.5.0.50", server=SERVER)
    assert server.handle(released, 31) == []
    nak, _ = server.handle(request(ciaddr="10.5.0.50", mac=OTHER_MAC, destination=SERVER), 32)
    assert nak.message.message_type is MessageType.NAK


def test_an_inform_from_behind_a_relay_is_answered_with_its_scope():
    (answer,) = relayed_server().handle(inform(ciaddr="10.5.0.50", asked=[3], **RELAYED), 0)
    assert (answer.destination, answer.port) == ("10.5.0.50", 68)
    assert answer.message.options[Option.ROUTER] == encode_addresses(["10.5.0.1"])


def test_option_82_is_sent_back_last_in_every_answer():
    server = relayed_server()
    information = b"\x01\x02ab"

    def relayed(event):
        options = {**event.message.options, Option.RELAY_AGENT_INFORMATION: information}
        message = msgspec.structs.replace(event.message, options=options)
        return msgspec.structs.replace(event, message=message)

    for event in (
        discover(**RELAYED),
        request(requested="10.5.0.50", server=SERVER, **RELAYED),
        request(requested="10.9.0.9", **RELAYED),  # a NAK
        inform(ciaddr="10.5.0.50", **RELAYED),
    ):
        with_it, *_ = server.handle(relayed(event), 0)
        assert list(with_it.message.options.items())[-1] == (82, information)
        without, *_ = server.handle(event, 0)
        assert Option.RELAY_AGENT_INFORMATION not in without.message.options


def test_without_a_scope_of_its_own_network_only_relayed_clients_are_served():
    server = relayed_server(scope=None)
    assert server.handle(discover(), 0) == []
    (answer,) = server.handle(discover(**RELAYED), 0)
    assert answer.message.yiaddr == "10.5.0.50"
