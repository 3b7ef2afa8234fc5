import pytest
from scapy.layers.dhcp import BOOTP, DHCP

from phonesim.errors import DecodeError
from phonesim.wire.dhcp import (
    BOOTREPLY,
    BROADCAST_FLAG,
    DhcpMessage,
    MessageType,
    Option,
    decode_addresses,
    decode_dhcp,
    decode_u32,
    encode_addresses,
    encode_dhcp,
    encode_relay_information,
    encode_u32,
    format_mac,
    parse_mac,
)

MAC = bytes.fromhex("0004F2000001")
PARAMETERS = bytes((1, 3, 6, 15, 42, 43, 44, 46, 47, 119))

DISCOVER = DhcpMessage(
    message_type=MessageType.DISCOVER,
    xid=0x01020304,
    chaddr=MAC,
    secs=4,
    flags=BROADCAST_FLAG,
    options={
        Option.DHCP_MESSAGE_TYPE: b"\x01",
        Option.CLIENT_IDENTIFIER: b"\x01" + MAC,
        Option.VENDOR_CLASS_IDENTIFIER: b"CPE-OCPHONE",
        Option.PARAMETER_REQUEST_LIST: PARAMETERS,
    },
)

# Written out by hand from RFC 2131 figure 1 and the options above.
DISCOVER_OCTETS = (
    bytes.fromhex("01010600 01020304 0004 8000")
    + bytes(16)
    + MAC
    + bytes(10 + 64 + 128)
    + bytes.fromhex("63825363 350101 3d07010004f2000001")
    + b"\x3c\x0bCPE-OCPHONE"
    + b"\x37\x0a"
    + PARAMETERS
    + b"\xff"
).ljust(300, b"\0")


def reply(**fields: object) -> DhcpMessage:
    return DhcpMessage(
        **{"message_type": MessageType.ACK, "xid": 7, "chaddr": MAC, "op": BOOTREPLY, **fields}
    )


def packet(options: bytes, *, sname: bytes = b"", file: bytes = b"") -> bytes:
    """A BOOTREPLY with these octets behind the cookie."""
    return (
        bytes.fromhex("02010600000000070000000000000000000000000000000000000000")
        + MAC
        + bytes(10)
        + sname.ljust(64, b"\0")
        + file.ljust(128, b"\0")
        + bytes.fromhex("63825363")
        + options
    )


class TestEncode:
    def test_discover_is_the_octets_of_the_rfc(self) -> None:
        assert encode_dhcp(DISCOVER) == DISCOVER_OCTETS

    def test_scapy_reads_the_same_fields(self) -> None:
        message = reply(
            ciaddr="10.20.0.100",
            yiaddr="10.20.0.101",
            siaddr="10.20.0.2",
            giaddr="10.20.0.1",
            hops=1,
            sname=b"dhcp1",
            file=b"boot",
            options={
                51: encode_u32(691200),
                54: encode_addresses(["10.20.0.2"]),
                3: encode_addresses(["10.20.0.1", "10.20.0.3"]),
                15: b"contoso.com",
            },
        )
        seen = BOOTP(encode_dhcp(message))
        assert (seen.op, seen.htype, seen.hlen, seen.hops, seen.xid) == (2, 1, 6, 1, 7)
        assert (seen.ciaddr, seen.yiaddr) == ("10.20.0.100", "10.20.0.101")
        assert (seen.siaddr, seen.giaddr) == ("10.20.0.2", "10.20.0.1")
        assert seen.chaddr[:6] == MAC
        assert (seen.sname.rstrip(b"\0"), seen.file.rstrip(b"\0")) == (b"dhcp1", b"boot")
        options = seen[DHCP].options
        assert options[: options.index("end")] == [
            ("message-type", 5),
            ("lease_time", 691200),
            ("server_id", "10.20.0.2"),
            ("router", "10.20.0.1", "10.20.0.3"),
            ("domain", b"contoso.com"),
        ]

    def test_message_type_comes_first_wherever_the_mapping_has_it(self) -> None:
        data = encode_dhcp(reply(options={54: b"\x0a\0\0\x02", 53: b"\x05"}))
        assert data[240:243] == b"\x35\x01\x05"
        assert data[243:250] == b"\x36\x04\x0a\x00\x00\x02\xff"

    def test_message_type_field_decides_about_option_53(self) -> None:
        data = encode_dhcp(reply(message_type=MessageType.NAK, options={53: b"\x05"}))
        assert data[240:244] == b"\x35\x01\x06\xff"

    def test_long_values_are_cut_into_pieces_of_255(self) -> None:
        value = bytes(range(256)) * 2
        data = encode_dhcp(reply(options={43: value}))
        assert data[243:245] == b"\x2b\xff"
        assert data[500:502] == b"\x2b\xff"
        assert data[757:759] == b"\x2b\x02"
        assert decode_dhcp(data).options[43] == value

    def test_values_of_255_octets_stay_whole(self) -> None:
        assert len(encode_dhcp(reply(options={43: bytes(255)}))) == 243 + 257 + 1

    @pytest.mark.parametrize(
        "fields",
        [
            {"chaddr": MAC[:5]},
            {"ciaddr": "10.0.0"},
            {"xid": 1 << 32},
            {"secs": -1},
            {"sname": bytes(65)},
            {"file": bytes(129)},
            {"options": {0: b""}},
            {"options": {52: b"\x01"}},
            {"options": {255: b""}},
        ],
    )
    def test_what_no_message_can_carry_is_refused(self, fields: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=r"."):
            encode_dhcp(reply(**fields))


class TestOverload:
    def test_nothing_moves_while_the_message_fits(self) -> None:
        message = reply(options={43: bytes(90)})
        size = 240 + 3 + 92 + 1
        assert encode_dhcp(message, size) == encode_dhcp(message)

    def test_options_move_into_file_first(self) -> None:
        message = reply(options={6: bytes(8), 43: b"v" * 90, 120: b"s" * 26})
        data = encode_dhcp(message, 300)
        assert len(data) == 300
        assert data[240:246] == b"\x35\x01\x05\x34\x01\x01"
        assert data[108:110] == b"\x2b\x5a"
        assert decode_dhcp(data).options == {53: b"\x05", **message.options}

    def test_options_move_into_sname_when_file_is_in_use(self) -> None:
        message = reply(file=b"boot", options={6: b"d" * 8, 43: b"v" * 60, 120: b"s" * 40})
        data = encode_dhcp(message, 320)
        assert data[243:246] == b"\x34\x01\x02"
        assert decode_dhcp(data).file == b"boot"
        assert decode_dhcp(data).options == {53: b"\x05", **message.options}

    def test_an_option_that_fits_nowhere_whole_is_cut(self) -> None:
        message = reply(options={43: bytes(range(250))})
        data = encode_dhcp(message, 330)
        assert len(data) <= 330
        assert data[243:246] == b"\x34\x01\x03"
        assert decode_dhcp(data).options[43] == bytes(range(250))

    def test_scapy_finds_the_options_in_file(self) -> None:
        data = encode_dhcp(reply(options={6: bytes(8), 15: b"c" * 50, 43: b"v" * 20}), 300)
        assert BOOTP(data).file.startswith(b"\x0f\x32" + b"c" * 50 + b"\xff")

    def test_an_empty_option_that_does_not_fit_is_kept(self) -> None:
        # One octet is left in the options field, none in sname.
        message = reply(file=b"boot", options={15: b"c" * 60, 43: b"v" * 60, 80: b""})
        assert encode_dhcp(message, 310) == encode_dhcp(message)
        assert decode_dhcp(encode_dhcp(message, 311)).options[80] == b""

    @pytest.mark.parametrize("maximum_size", [0, 240, 300, 576])
    def test_a_message_that_cannot_fit_keeps_every_option(self, maximum_size: int) -> None:
        message = reply(options={43: b"v" * 900})
        assert encode_dhcp(message, maximum_size) == encode_dhcp(message)


class TestDecode:
    def test_discover(self) -> None:
        assert decode_dhcp(DISCOVER_OCTETS) == DISCOVER
        assert list(decode_dhcp(DISCOVER_OCTETS).options) == [53, 61, 60, 55]
        assert DISCOVER.is_broadcast

    def test_what_scapy_builds(self) -> None:
        data = bytes(
            BOOTP(op=2, xid=9, chaddr=MAC, yiaddr="10.20.0.101", siaddr="10.20.0.2", sname=b"srv")
            / DHCP(
                options=[
                    ("message-type", "offer"),
                    ("server_id", "10.20.0.2"),
                    ("lease_time", 600),
                    ("vendor_specific", b"\x0a\x03110"),
                    "pad",
                    ("name_server", "10.20.0.10", "10.20.0.11"),
                    "end",
                ]
            )
        )
        message = decode_dhcp(data)
        assert message.message_type is MessageType.OFFER
        assert (message.xid, message.chaddr, message.sname) == (9, MAC, b"srv")
        assert (message.yiaddr, message.siaddr) == ("10.20.0.101", "10.20.0.2")
        assert not message.is_broadcast
        assert decode_u32(message.options[51]) == 600
        assert message.options[43] == b"\x0a\x03110"
        assert decode_addresses(message.options[6]) == ("10.20.0.10", "10.20.0.11")

    def test_pieces_are_joined_over_all_three_fields_in_order(self) -> None:
        data = packet(
            b"\x35\x01\x05\x34\x01\x03\x2b\x02op\xff",
            file=b"\x2b\x02fi\x0f\x01x\xff",
            sname=b"\x2b\x02sn\xff",
        )
        message = decode_dhcp(data)
        assert message.options == {53: b"\x05", 43: b"opfisn", 15: b"x"}
        assert (message.file, message.sname) == (b"", b"")

    def test_only_the_overloaded_field_is_read(self) -> None:
        data = packet(b"\x35\x01\x05\x34\x01\x01\xff", file=b"\x0f\x01x\xff", sname=b"\x0f\x01y")
        message = decode_dhcp(data)
        assert message.options == {53: b"\x05", 15: b"x"}
        assert message.sname == b"\x0f\x01y"

    def test_an_overload_option_inside_an_overloaded_field_means_nothing(self) -> None:
        data = packet(b"\x35\x01\x05\x34\x01\x01\xff", file=b"\x34\x01\x03\xff", sname=b"\x0f\x01y")
        assert decode_dhcp(data).options == {53: b"\x05"}

    def test_nothing_behind_end_is_read(self) -> None:
        assert decode_dhcp(packet(b"\x35\x01\x05\xff\x0f\xc8")).options == {53: b"\x05"}

    def test_a_missing_end_is_tolerated(self) -> None:
        assert decode_dhcp(packet(b"\x35\x01\x05\x0f\x01x")).options == {53: b"\x05", 15: b"x"}

    def test_empty_values_are_kept(self) -> None:
        assert decode_dhcp(packet(b"\x35\x01\x05\x50\x00\xff")).options == {53: b"\x05", 80: b""}

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b"", "0 octets: a DHCP message has at least 240"),
            (DISCOVER_OCTETS[:239], "239 octets"),
            (b"\x03" + DISCOVER_OCTETS[1:], "op at offset 0 is 3"),
            (b"\x01\x06" + DISCOVER_OCTETS[2:], "htype 6 and hlen 6"),
            (b"\x01\x01\x10" + DISCOVER_OCTETS[3:], "htype 1 and hlen 16"),
            (
                DISCOVER_OCTETS[:236] + b"\x63\x82\x53\x64" + DISCOVER_OCTETS[240:],
                "cookie at offset 236 is 63825364",
            ),
            (packet(b"\xff"), "option 53 .* is missing: this is BOOTP"),
            (packet(b"\x35\x00\xff"), "option 53 .* has 0 octets"),
            (packet(b"\x35\x01\x05\x35\x01\x05\xff"), "option 53 .* has 2 octets"),
            (packet(b"\x35\x01\x09\xff"), "option 53 .* is 9, not one of 1 to 8"),
            (packet(b"\x35\x01\x00\xff"), "option 53 .* is 0"),
            (packet(b"\x35\x01\x05\x2b"), "option 43 at offset 243: its length octet is missing"),
            (
                packet(b"\x35\x01\x05\x2b\x09abc"),
                "option 43 at offset 243: its length is 9, but only 3 octets follow",
            ),
            (packet(b"\x35\x01\x05\x2b\x09a"), "its length is 9, but only 1 octet follows"),
            (packet(b"\x35\x01\x05\x34\x01\x04\xff"), r"option 52 \(overload\) is 04"),
            (packet(b"\x35\x01\x05\x34\x00\xff"), r"option 52 \(overload\) is empty"),
            (
                packet(b"\x35\x01\x05\x34\x01\x01\xff", file=bytes(126) + b"\x0f\x02"),
                "option 15 at offset 234: its length is 2, but only 0 octets follow",
            ),
            (
                packet(b"\x35\x01\x05\x34\x01\x02\xff", sname=bytes(63) + b"\x0f"),
                "option 15 at offset 107: its length octet is missing",
            ),
        ],
    )
    def test_errors_say_where_and_what(self, data: bytes, text: str) -> None:
        with pytest.raises(DecodeError, match=text):
            decode_dhcp(data)


class TestValues:
    def test_addresses(self) -> None:
        assert encode_addresses(["10.0.0.1", "10.0.0.2"]) == b"\x0a\0\0\x01\x0a\0\0\x02"
        assert decode_addresses(b"\x0a\0\0\x01\x0a\0\0\x02") == ("10.0.0.1", "10.0.0.2")

    @pytest.mark.parametrize("value", [b"", b"\x0a\0\0", b"\x0a\0\0\x01\x0a"])
    def test_addresses_of_a_wrong_length(self, value: bytes) -> None:
        with pytest.raises(DecodeError, match=f"{len(value)} octets"):
            decode_addresses(value)

    def test_numbers(self) -> None:
        assert encode_u32(691200) == b"\x00\x0a\x8c\x00"
        assert decode_u32(b"\x00\x0a\x8c\x00") == 691200
        assert decode_u32(encode_u32(0xFFFFFFFF)) == 0xFFFFFFFF

    @pytest.mark.parametrize("value", [-1, 1 << 32])
    def test_numbers_out_of_range(self, value: int) -> None:
        with pytest.raises(ValueError, match="32 bits"):
            encode_u32(value)

    @pytest.mark.parametrize("value", [b"", b"\0\0\0", b"\0\0\0\0\0"])
    def test_numbers_of_a_wrong_length(self, value: bytes) -> None:
        with pytest.raises(DecodeError, match=f"{len(value)} octets"):
            decode_u32(value)


class TestMac:
    def test_format(self) -> None:
        assert format_mac(MAC) == "00-04-F2-00-00-01"

    @pytest.mark.parametrize("text", ["00-04-f2-00-00-01", "00:04:F2:00:00:01", "0004F2000001"])
    def test_parse(self, text: str) -> None:
        assert parse_mac(text) == MAC

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "00-04-F2-00-00",
            "00-04:F2-00-00-01",
            "0004F2-000001",
            "00-04-F2-00-00-0G",
            "0004.F200.0001",
        ],
    )
    def test_what_is_no_mac_is_refused(self, text: str) -> None:
        with pytest.raises(DecodeError, match="is not a MAC"):
            parse_mac(text)


@pytest.mark.parametrize(
    ("circuit_id", "remote_id", "octets"),
    [
        (None, None, ""),
        (b"7", None, "010137"),
        (None, MAC, "02060004f2000001"),
        (b"7", MAC, "01013702060004f2000001"),
        (b"x" * 253, None, "01fd" + "78" * 253),
    ],
)
def test_relay_agent_information(circuit_id, remote_id, octets):
    assert encode_relay_information(circuit_id, remote_id).hex() == octets


@pytest.mark.parametrize("sizes", [(254, 0), (128, 124), (300, 0)])
def test_relay_agent_information_fits_into_one_option(sizes):
    with pytest.raises(ValueError, match=f"option 82 has {sum(sizes) + 2 * (sizes[1] > 0) + 2}"):
        encode_relay_information(b"x" * sizes[0], b"y" * sizes[1])
