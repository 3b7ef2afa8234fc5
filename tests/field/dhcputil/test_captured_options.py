from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from phonesim.errors import DecodeError, UsageError
from phonesim.field.dhcputil.captured_options import CapturedOptions
from phonesim.field.dhcputil.informed_phone import answer_with
from phonesim.field.dhcputil.sign_in_values import read_sign_in_values
from phonesim.wire.dhcp import (
    BOOTREQUEST,
    CLIENT_PORT,
    SERVER_PORT,
    DhcpMessage,
    MessageType,
    Option,
    encode_addresses,
    encode_dhcp,
)
from phonesim.wire.frame import UdpFrame, encode_udp_frame
from phonesim.wire.pcapng import (
    encode_interface,
    encode_packet,
    encode_packet_options,
    encode_section_header,
)

MAC = bytes.fromhex("0004F2000001")
VALUES = read_sign_in_values(["fe01.contoso.com"])
BOTH = {43: VALUES.option_43, 120: VALUES.option_120}


class Wire:
    """Frames of DHCP, one after the other."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def ask(self, xid: int, vendor_class: str | None) -> None:
        options = {} if vendor_class is None else {60: vendor_class.encode()}
        message = msgspec.structs.replace(
            answer_with(options), op=BOOTREQUEST, message_type=MessageType.INFORM, xid=xid
        )
        self._add(message, CLIENT_PORT, SERVER_PORT, "10.0.0.7")

    def answer(
        self,
        xid: int,
        options: dict[int, bytes],
        kind: MessageType = MessageType.ACK,
        server: str = "10.0.0.1",
    ) -> None:
        named = {int(Option.SERVER_IDENTIFIER): encode_addresses([server]), **options}
        message = msgspec.structs.replace(answer_with(named), xid=xid, message_type=kind)
        self._add(message, SERVER_PORT, CLIENT_PORT, "10.0.0.99")

    def add_octets(self, port: int, payload: bytes) -> None:
        self.frames.append(
            encode_udp_frame(
                UdpFrame(
                    source_mac=MAC,
                    destination_mac=MAC,
                    source="10.0.0.1",
                    destination="10.0.0.2",
                    source_port=port,
                    destination_port=port,
                    payload=payload,
                )
            )
        )

    def _add(self, message: DhcpMessage, port: int, to: int, source: str) -> None:
        frame = UdpFrame(
            source_mac=MAC,
            destination_mac=MAC,
            source=source,
            destination="10.0.0.2",
            source_port=port,
            destination_port=to,
            payload=encode_dhcp(message),
        )
        self.frames.append(encode_udp_frame(frame))

    def octets(self) -> bytes:
        options = encode_packet_options("", 1)
        return b"".join(
            (
                encode_section_header("test"),
                encode_interface("x", 1),
                *(encode_packet(0, 1, frame, options) for frame in self.frames),
            )
        )

    def read(self, folder: Path) -> CapturedOptions:
        path = folder / "site.pcapng"
        path.write_bytes(self.octets())
        return CapturedOptions(path)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_options_have_their_frame_class_and_server(wire: Wire, tmp_path: Path) -> None:
    wire.ask(1, "MS-UC-Client")
    wire.answer(1, BOTH)
    found = wire.read(tmp_path)
    assert [
        (each.code, each.octets, each.vendor_class, each.line, each.origin)
        for each in found.options
    ] == [
        (43, VALUES.option_43, "MS-UC-Client", 2, "ACK of 10.0.0.1"),
        (120, VALUES.option_120, None, 2, "ACK of 10.0.0.1"),
    ]
    assert found.notes == []


def test_the_same_again_is_counted_and_what_differs_is_not(wire: Wire, tmp_path: Path) -> None:
    for xid, server in ((1, "10.0.0.1"), (2, "10.0.0.1"), (3, "10.0.0.2")):
        wire.ask(xid, "CPE-OCPHONE")
        wire.answer(xid, {43: b"\x0a\x03100"}, MessageType.OFFER, server)
    found = wire.read(tmp_path)
    assert [(each.times, each.origin) for each in found.options] == [
        (2, "OFFER of 10.0.0.1"),
        (1, "OFFER of 10.0.0.2"),
    ]


def test_answers_to_other_classes_are_left_out(wire: Wire, tmp_path: Path) -> None:
    wire.ask(1, "Cisco AP")
    wire.answer(1, {43: b"\xf1\x04\x0a\0\0\x01"})
    wire.ask(2, "ms-uc-client")
    wire.answer(2, {120: VALUES.option_120})
    wire.answer(3, {43: VALUES.option_43})
    found = wire.read(tmp_path)
    assert [(each.code, each.vendor_class) for each in found.options] == [(120, None), (43, None)]
    assert found.notes == ["1 answers to other vendor classes are left out"]


def test_other_traffic_and_malformed_messages_are_passed_over(wire: Wire, tmp_path: Path) -> None:
    wire.add_octets(53, b"dns")
    wire.add_octets(CLIENT_PORT, b"not DHCP")
    wire.frames += [b"", b"\0" * 14, b"\0" * 12 + b"\x08\0" + b"\x45" * 9 + b"\x11" + b"\xff" * 40]
    wire.answer(1, {6: b"\0\0\0\0"})
    wire.answer(1, BOTH, MessageType.NAK)
    found = wire.read(tmp_path)
    assert found.options == []
    assert found.notes == ["no DHCP answer with option 43 or 120 in 7 packets"]


def test_a_capture_that_is_cut_is_read_as_far_as_it_goes(wire: Wire, tmp_path: Path) -> None:
    wire.answer(1, BOTH)
    wire.answer(2, {120: b"cut"})
    path = tmp_path / "site.pcapng"
    path.write_bytes(wire.octets()[:-9])
    found = CapturedOptions(path)
    assert [each.code for each in found.options] == [43, 120]
    assert found.notes[0].endswith("what is before was read")


def test_what_is_no_capture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.pcap"
    path.write_bytes(b"hello")
    with pytest.raises(DecodeError):
        CapturedOptions(path)
    with pytest.raises(UsageError):
        CapturedOptions(tmp_path)
