"""The DHCP of a phone, as a capture tells it."""

from __future__ import annotations

from pathlib import Path

from captures import (
    LEASE,
    MAC,
    PHONE,
    SERVER,
    capture_of,
    lease,
    names,
    read,
    reply,
    request,
    sightings,
    values,
)

from phonesim.wire.dhcp import MessageType
from phonesim.wire.provisioning import UcOptions, encode_sip_servers, encode_uc_options

D, O, R, A, N, I = (  # noqa: E741 - as people write them
    MessageType.DISCOVER,
    MessageType.OFFER,
    MessageType.REQUEST,
    MessageType.ACK,
    MessageType.NAK,
    MessageType.INFORM,
)
OPTION_43 = encode_uc_options(
    UcOptions(
        uc_identifier="MS-UC-Client",
        url_scheme="https",
        web_server_fqdn="web.contoso.com",
        web_server_port=443,
        cert_prov_rel_path="/a",
    )
)
OPTION_120 = encode_sip_servers(["fe01.contoso.com"])


def inform(xid: int = 9) -> bytes:
    return request(I, xid=xid, vendor_class=b"MS-UC-Client", asked=(43, 120), ciaddr=PHONE)


def answer(options: dict[int, bytes], xid: int = 9, **where: object) -> bytes:
    where = {"destination": PHONE, "ciaddr": PHONE, **where}
    return reply(A, xid=xid, options=options, **where)  # type: ignore[arg-type]


def test_a_lease(tmp_path: Path) -> None:
    found = sightings(tmp_path, *lease())
    assert names(found) == [
        "dhcp_sent",
        "dhcp_received",
        "dhcp_sent",
        "dhcp_received",
        "dhcp_lease",
    ]
    assert values(found, "dhcp_sent")[0] == (
        *("DISCOVER", 7, 0, "0.0.0.0", "255.255.255.255"),
        *("CPE-OCPHONE", "1,3,6,43", 1),
    )
    assert values(found, "dhcp_lease") == [
        (PHONE, "255.255.255.0", SERVER, 43200, 75600, 86400, "", SERVER, "", "")
    ]
    assert found[0].place.number == 1
    assert "DHCP DISCOVER of class CPE-OCPHONE; xid 0x00000007" in found[0].text


def test_options_43_and_120_of_an_inform(tmp_path: Path) -> None:
    found = sightings(
        tmp_path,
        *lease(),
        inform(),
        answer({43: OPTION_43, 120: OPTION_120}),
        answer({}, server="10.0.0.2"),
    )[5:]
    assert names(found) == [
        *("dhcp_sent", "dhcp_received", "option_43", "option_120", "race_won"),
        *("dhcp_received", "option_missing", "option_missing", "race_lost"),
    ]
    assert values(found, "option_43") == [
        (SERVER, OPTION_43.hex(), "https://web.contoso.com:443/a", "MS-UC-Client")
    ]
    assert values(found, "option_120") == [(SERVER, OPTION_120.hex(), "fe01.contoso.com")]
    assert values(found, "option_missing") == [("10.0.0.2", 43), ("10.0.0.2", 120)]
    assert OPTION_43.hex() in found[1].text


def test_a_damaged_option_is_warned_of_as_the_phone_does(tmp_path: Path) -> None:
    found = sightings(tmp_path, *lease(), inform(), answer({43: OPTION_43[:30]}))
    [(_, _, url, _)] = values(found, "option_43")
    assert url == ""
    warnings = values(found, "option_warning")
    assert any("only" in str(text) for _, _, text in warnings), warnings


def test_silence_is_told_when_the_phone_begins_anew_or_the_capture_ends(tmp_path: Path) -> None:
    found = sightings(
        tmp_path,
        (0, request(D, xid=1)),
        (4, request(D, xid=1)),
        (12, request(D, xid=2)),
        (13, request(D, xid=2)),
    )
    assert values(found, "dhcp_no_answer") == [("DISCOVER", 2), ("DISCOVER", 2)]
    first, last = [each for each in found if each.name == "dhcp_no_answer"]
    assert (first.place.number, last.place.number) == (2, 4)
    assert first.text.startswith("nobody answers 0.0.0.0:68 -> 255.255.255.255:67 DHCP DISCOVER")
    assert [value[-1] for value in values(found, "dhcp_sent")] == [1, 2, 1, 2]


def test_what_was_sent_only_a_moment_ago_may_still_be_answered(tmp_path: Path) -> None:
    assert names(sightings(tmp_path, request(D))) == ["dhcp_sent"]


def test_an_answer_within_the_wait_is_no_silence(tmp_path: Path) -> None:
    discover, offer, *_ = lease()
    found = sightings(tmp_path, (0, discover), (4, discover), (12, discover), (13, offer))
    assert names(found) == ["dhcp_sent"] * 3 + ["dhcp_received"]


def test_a_reply_to_the_wrong_address_or_port_is_astray(tmp_path: Path) -> None:
    found = sightings(
        tmp_path,
        *lease(),
        (1, inform()),
        (2, answer({43: OPTION_43}, destination="10.0.0.99")),
        (3, answer({43: OPTION_43}, port=67)),
        (20, inform(xid=10)),
    )[5:]
    assert names(found) == [
        *("dhcp_sent", "reply_astray", "reply_astray", "dhcp_no_answer", "dhcp_sent"),
    ]
    assert values(found, "reply_astray") == [
        ("ACK", 9, SERVER, "10.0.0.99:68", f"{PHONE}:68"),
        ("ACK", 9, SERVER, f"{PHONE}:67", f"{PHONE}:68"),
    ]


def test_replies_that_a_phone_does_not_take(tmp_path: Path) -> None:
    found = sightings(
        tmp_path,
        *lease()[:3],
        reply(O, yiaddr="10.0.0.8", server="10.0.0.2"),
        reply(A, yiaddr="10.0.0.8", server="10.0.0.2", options=LEASE),
        reply(A, xid=99, yiaddr="10.0.0.8"),
        reply(A, yiaddr=PHONE, options={54: b"\1\2"}),
        reply(A, yiaddr=PHONE),
    )[3:]
    ignored = values(found, "dhcp_ignored")
    assert [value[0] for value in ignored] == ["OFFER", "ACK", "ACK", "ACK", "ACK"]
    assert "an earlier answer is in use" in str(ignored[0][3])
    assert "another server was asked" in str(ignored[1][3])
    assert "no request with this xid is open" in str(ignored[2][3])
    assert "2 octets" in str(ignored[3][3])
    assert "without a lease time" in str(ignored[4][3])


def test_a_nak_to_a_renewal_loses_the_lease(tmp_path: Path) -> None:
    found = sightings(
        tmp_path,
        *lease(),
        request(R, xid=8, ciaddr=PHONE, destination=SERVER),
        reply(N, xid=8),
    )
    assert values(found, "lease_lost") == [(PHONE, f"NAK from {SERVER}")]


def test_a_nak_and_other_answers_to_an_inform(tmp_path: Path) -> None:
    found = sightings(
        tmp_path, *lease(), inform(), reply(N, xid=9, destination=PHONE, ciaddr=PHONE)
    )
    assert values(found, "dhcp_ignored") == [("NAK", 9, SERVER, "only an ACK answers an INFORM")]


def test_a_voice_vlan_in_option_43(tmp_path: Path) -> None:
    options = encode_uc_options(UcOptions(uc_identifier="MS-UC-Client", vlan_id=100))
    *first, _ = lease()
    ack = reply(A, yiaddr=PHONE, options={**LEASE, 43: options})
    found = sightings(tmp_path, *first, ack)
    assert values(found, "vlan_option") == [(SERVER, options.hex(), 100)]


def test_of_a_relayed_exchange_the_phones_side_counts(tmp_path: Path) -> None:
    relay = "10.0.0.254"
    discover, offer, *_ = lease()
    relayed = request(D, giaddr=relay, source=relay, destination="10.9.0.1")
    back = reply(O, yiaddr=PHONE, options=LEASE, giaddr=relay, destination=relay, port=67)
    both = sightings(tmp_path, discover, relayed, back, offer)
    assert names(both) == ["dhcp_sent", "dhcp_received"]
    server_side = sightings(tmp_path, relayed, back)
    assert names(server_side) == ["dhcp_sent", "dhcp_received"]
    assert server_side[0].phone_id == MAC.hex("-").upper()


def test_what_an_offer_has_in_it_is_shown(tmp_path: Path) -> None:
    found, _ = read(tmp_path, capture_of(lease()))
    (offer,) = values(found, "offer_shown")
    (granted,) = values(found, "dhcp_lease")
    assert offer[:3] == granted[:3]
    assert offer[3:] == granted[5:]
