import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPOption_NOP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from phonesim.errors import DecodeError
from phonesim.wire.frame import (
    ARP_REPLY,
    ARP_REQUEST,
    BROADCAST_MAC,
    UNKNOWN_MAC,
    ArpFrame,
    UdpFrame,
    add_tag,
    answer_echo,
    decode_arp_frame,
    decode_udp_frame,
    encode_arp_frame,
    encode_udp_frame,
)

MAC = bytes.fromhex("0004F2000001")
SERVER_MAC = bytes.fromhex("020000000001")

BROADCAST = UdpFrame(
    source_mac=MAC,
    destination_mac=BROADCAST_MAC,
    source="0.0.0.0",
    destination="255.255.255.255",
    source_port=68,
    destination_port=67,
    payload=b"payload",
)
PROBE = ArpFrame(
    operation=ARP_REQUEST,
    source_mac=MAC,
    sender_mac=MAC,
    sender_ip="0.0.0.0",
    target_mac=UNKNOWN_MAC,
    target_ip="10.20.0.101",
    destination_mac=BROADCAST_MAC,
)


def scapy_udp(payload: bytes = b"payload", tag: int | None = None, **ip: object) -> Ether:
    ether = Ether(src="02:00:00:00:00:01", dst="00:04:f2:00:00:01")
    if tag is not None:
        ether /= Dot1Q(vlan=tag, prio=5)
    address = {"src": "10.20.0.2", "dst": "10.20.0.101", **ip}
    return ether / IP(**address) / UDP(sport=67, dport=68) / Raw(payload)


def expected(payload: bytes = b"payload", vlan_id: int | None = None) -> UdpFrame:
    return UdpFrame(
        source_mac=SERVER_MAC,
        destination_mac=MAC,
        source="10.20.0.2",
        destination="10.20.0.101",
        source_port=67,
        destination_port=68,
        payload=payload,
        vlan_id=vlan_id,
    )


def patch(data: bytes, at: int, octets: bytes) -> bytes:
    return data[:at] + octets + data[at + len(octets) :]


class TestEncodeUdp:
    @pytest.mark.parametrize("payload", [b"", b"x", b"payload", bytes(300), b"\xff" * 1472])
    @pytest.mark.parametrize("vlan_id", [None, 110])
    def test_scapy_reads_and_would_have_built_the_same(
        self, payload: bytes, vlan_id: int | None
    ) -> None:
        frame = expected(payload, vlan_id)
        seen = Ether(encode_udp_frame(frame))
        assert (seen.src, seen.dst) == ("02:00:00:00:00:01", "00:04:f2:00:00:01")
        assert (seen[Dot1Q].vlan if Dot1Q in seen else None) == vlan_id
        assert (seen[IP].src, seen[IP].dst) == ("10.20.0.2", "10.20.0.101")
        assert (seen[IP].ttl, str(seen[IP].flags), seen[IP].frag) == (64, "DF", 0)
        assert (seen[UDP].sport, seen[UDP].dport) == (67, 68)
        assert bytes(seen[UDP].payload) == payload
        # Scapy's own lengths and checksums.
        del seen[IP].len, seen[IP].chksum, seen[UDP].len, seen[UDP].chksum
        assert bytes(seen) == encode_udp_frame(frame)

    def test_the_largest_datagram(self) -> None:
        frame = expected(bytes(65507))
        assert decode_udp_frame(encode_udp_frame(frame)) == frame

    def test_a_checksum_of_zero_is_written_as_all_ones(self) -> None:
        # The sum of everything else is 0xFFFF with this payload.
        rest = encode_udp_frame(expected(b"\0\0"))
        payload = bytes(rest[14 + 20 + 6 : 14 + 20 + 8])
        data = encode_udp_frame(expected(payload))
        assert data[14 + 20 + 6 : 14 + 20 + 8] == b"\xff\xff"
        assert decode_udp_frame(data) == expected(payload)

    @pytest.mark.parametrize(
        "fields",
        [
            {"source_mac": MAC[:5]},
            {"destination_mac": MAC + b"\0"},
            {"source": "10.0.0"},
            {"source_port": 65536},
            {"destination_port": -1},
            {"payload": bytes(65508)},
            {"vlan_id": 4096},
            {"vlan_id": -1},
        ],
    )
    def test_what_no_frame_can_carry_is_refused(self, fields: dict[str, object]) -> None:
        frame = {name: getattr(BROADCAST, name) for name in BROADCAST.__struct_fields__}
        with pytest.raises(ValueError, match=r"."):
            encode_udp_frame(UdpFrame(**{**frame, **fields}))


class TestDecodeUdp:
    @pytest.mark.parametrize("payload", [b"", b"x", b"payload", bytes(300)])
    @pytest.mark.parametrize("vlan_id", [None, 0, 110, 4095])
    def test_what_scapy_builds(self, payload: bytes, vlan_id: int | None) -> None:
        data = bytes(scapy_udp(payload, vlan_id))
        assert decode_udp_frame(data) == expected(payload, vlan_id)

    def test_padding_is_left_out(self) -> None:
        assert decode_udp_frame(bytes(scapy_udp()) + bytes(20)) == expected()

    def test_ip_options_are_skipped(self) -> None:
        assert decode_udp_frame(bytes(scapy_udp(options=[IPOption_NOP()] * 8))) == expected()

    def test_octets_between_udp_and_ip_length_are_left_out(self) -> None:
        frame = scapy_udp()
        frame[UDP].len = 8 + 4
        frame[UDP].chksum = 0
        assert decode_udp_frame(bytes(frame)) == expected(b"payl")

    def test_no_udp_checksum(self) -> None:
        frame = scapy_udp()
        frame[UDP].chksum = 0
        assert decode_udp_frame(bytes(frame)) == expected()

    def test_a_partial_udp_checksum(self) -> None:
        frame = scapy_udp()
        frame[UDP].chksum = 0x1234
        with pytest.raises(DecodeError, match="UDP at offset 34: the checksum 1234 is wrong"):
            decode_udp_frame(bytes(frame))
        assert decode_udp_frame(bytes(frame), verify_udp_checksum=False) == expected()

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            bytes(13),
            bytes(12) + b"\x81\0\0\0\x08",
            bytes(14),
            bytes(12) + b"\x86\xdd" + bytes(40),
            encode_arp_frame(PROBE),
            bytes(scapy_udp(proto=6)),
            bytes(scapy_udp(flags="MF")),
            bytes(scapy_udp(frag=5)),
        ],
    )
    def test_other_frames_are_none(self, data: bytes) -> None:
        assert decode_udp_frame(data) is None

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (bytes(scapy_udp())[:33], "IPv4 at offset 14: 19 of 20 header octets"),
            (bytes(scapy_udp(tag=1))[:37], "IPv4 at offset 18: 19 of 20"),
            (patch(bytes(scapy_udp()), 14, b"\x65"), "it begins with 65, not 45"),
            (patch(bytes(scapy_udp()), 14, b"\x44"), "it begins with 44, not 45"),
            (
                patch(bytes(scapy_udp()), 14, b"\x4f"),
                "total length of 35 does not fit a header of 60",
            ),
            (bytes(scapy_udp())[:-1], "total length of 35 does not fit"),
            (patch(bytes(scapy_udp()), 16, b"\0\x1b"), "total length of 27 does not fit"),
            (patch(bytes(scapy_udp()), 24, b"\0\0"), "the header checksum is wrong"),
            (patch(bytes(scapy_udp()), 38, b"\0\x07"), "its length of 7 is not within 8 and 15"),
            (patch(bytes(scapy_udp()), 38, b"\0\x10"), "its length of 16 is not within 8 and 15"),
            (patch(bytes(scapy_udp()), 42, b"P"), "UDP at offset 34: the checksum"),
        ],
    )
    def test_malformed(self, data: bytes, text: str) -> None:
        with pytest.raises(DecodeError, match=text):
            decode_udp_frame(data)

    @pytest.mark.parametrize("at", range(14, 49))
    def test_no_single_wrong_octet_goes_unnoticed(self, at: int) -> None:
        data = bytes(scapy_udp())
        wrong = patch(data, at, bytes((data[at] ^ 0x04,)))
        try:
            frame = decode_udp_frame(wrong)
        except DecodeError:
            return
        # Another protocol, or a fragment: not ours to check.
        assert frame is None
        assert at in (20, 21, 23)


class TestArp:
    @pytest.mark.parametrize("vlan_id", [None, 110])
    def test_scapy_reads_a_probe(self, vlan_id: int | None) -> None:
        fields = {name: getattr(PROBE, name) for name in PROBE.__struct_fields__}
        frame = ArpFrame(**{**fields, "vlan_id": vlan_id})
        seen = Ether(encode_arp_frame(frame))
        assert (seen.src, seen.dst) == ("00:04:f2:00:00:01", "ff:ff:ff:ff:ff:ff")
        assert (seen[Dot1Q].vlan if Dot1Q in seen else None) == vlan_id
        arp = seen[ARP]
        assert (arp.hwtype, arp.ptype, arp.hwlen, arp.plen, arp.op) == (1, 0x0800, 6, 4, 1)
        assert (arp.hwsrc, arp.psrc) == ("00:04:f2:00:00:01", "0.0.0.0")
        assert (arp.hwdst, arp.pdst) == ("00:00:00:00:00:00", "10.20.0.101")
        assert decode_arp_frame(encode_arp_frame(frame)) == frame

    def test_what_scapy_builds(self) -> None:
        data = bytes(
            Ether(src="02:00:00:00:00:01", dst="00:04:f2:00:00:01")
            / ARP(
                op="is-at",
                hwsrc="02:00:00:00:00:02",
                psrc="10.20.0.101",
                hwdst="00:04:f2:00:00:01",
                pdst="10.20.0.1",
            )
        )
        assert decode_arp_frame(data + bytes(18)) == ArpFrame(
            operation=ARP_REPLY,
            source_mac=SERVER_MAC,
            sender_mac=bytes.fromhex("020000000002"),
            sender_ip="10.20.0.101",
            target_mac=MAC,
            target_ip="10.20.0.1",
            destination_mac=MAC,
        )

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            bytes(scapy_udp()),
            patch(encode_arp_frame(PROBE), 14, b"\0\x06"),
            patch(encode_arp_frame(PROBE), 16, b"\x86\xdd")[:20],
        ],
    )
    def test_other_frames_are_none(self, data: bytes) -> None:
        assert decode_arp_frame(data) is None

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (encode_arp_frame(PROBE)[:-1], "ARP at offset 14: 27 of 28 octets"),
            (encode_arp_frame(PROBE)[:17], "ARP at offset 14: 3 of 28 octets"),
            (patch(encode_arp_frame(PROBE), 18, b"\x08"), "address lengths 8 and 4, not 6 and 4"),
            (patch(encode_arp_frame(PROBE), 19, b"\x10"), "address lengths 6 and 16"),
        ],
    )
    def test_malformed(self, data: bytes, text: str) -> None:
        with pytest.raises(DecodeError, match=text):
            decode_arp_frame(data)

    @pytest.mark.parametrize(
        "fields",
        [
            {"operation": 65536},
            {"sender_mac": b""},
            {"target_mac": MAC[:5]},
            {"source_mac": MAC + MAC},
            {"target_ip": "a"},
        ],
    )
    def test_what_no_frame_can_carry_is_refused(self, fields: dict[str, object]) -> None:
        probe = {name: getattr(PROBE, name) for name in PROBE.__struct_fields__}
        with pytest.raises(ValueError, match=r"."):
            encode_arp_frame(ArpFrame(**{**probe, **fields}))


class TestAddTag:
    @pytest.mark.parametrize("vlan_id", [0, 1, 100, 4094])
    def test_a_tagged_frame_is_the_one_that_is_built_so(self, vlan_id: int) -> None:
        tagged = add_tag(encode_udp_frame(expected()), vlan_id)
        assert tagged == encode_udp_frame(expected(vlan_id=vlan_id))
        assert Ether(tagged)[Dot1Q].vlan == vlan_id

    @pytest.mark.parametrize("vlan_id", [-1, 4096])
    def test_a_vlan_id_has_12_bits(self, vlan_id: int) -> None:
        with pytest.raises(ValueError, match="12 bits"):
            add_tag(encode_udp_frame(expected()), vlan_id)


def ping(payload: bytes = b"abc", **ip: object) -> bytes:
    ethernet = Ether(src="02:00:00:00:00:01", dst="00:04:f2:00:00:01")
    request = IP(src="10.20.0.2", dst="10.20.0.101", ttl=3, **ip)
    return bytes(ethernet / request / ICMP(type=8, id=7, seq=9) / payload)


class TestAnswerEcho:
    @pytest.mark.parametrize("payload", [b"", b"abc", bytes(56), b"\xff" * 1400])
    def test_scapy_reads_the_answer_and_would_have_built_the_same(self, payload: bytes) -> None:
        answer = answer_echo(ping(payload) + bytes(4))  # short frames are padded
        assert answer is not None
        assert (answer.address, answer.mac) == ("10.20.0.101", MAC)
        seen = Ether(answer.octets)
        assert (seen.src, seen.dst) == ("00:04:f2:00:00:01", "02:00:00:00:00:01")
        assert (seen[IP].src, seen[IP].dst, seen[IP].ttl) == ("10.20.0.101", "10.20.0.2", 64)
        assert (seen[ICMP].type, seen[ICMP].code) == (0, 0)
        assert (seen[ICMP].id, seen[ICMP].seq) == (7, 9)
        assert bytes(seen[ICMP].payload) == payload
        del seen[IP].chksum, seen[ICMP].chksum
        assert bytes(seen) == answer.octets

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            ping()[:30],
            ping()[:-1],
            encode_udp_frame(BROADCAST),
            encode_arp_frame(PROBE),
            ping(frag=1),
            ping(flags="MF"),
            b"\xff" * 6 + ping()[6:],  # nobody answers a ping to everybody
            ping()[:24] + b"\0\0" + ping()[26:],  # the header's checksum
            ping()[:-1] + b"x",  # the message's
            ping()[:34] + b"\0" + ping()[35:],  # an answer
            ping(options=IPOption_NOP()),
        ],
    )
    def test_anything_else_is_not_answered(self, data: bytes) -> None:
        assert answer_echo(data) is None
