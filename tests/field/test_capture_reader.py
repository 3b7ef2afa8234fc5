"""Whole captures: what is said of them, what is wrong with them, and the logs they stand for."""

from __future__ import annotations

import random
import struct
from collections import Counter
from pathlib import Path

import pytest
from captures import (
    BEGAN,
    MAC,
    PHONE,
    PHONE_ID,
    TcpTalk,
    capture_of,
    lease,
    names,
    read,
    reply,
    request,
    sightings,
    values,
)

from phonesim.errors import DecodeError, UsageError
from phonesim.field.captures.capture_reader import CaptureReader, is_capture
from phonesim.field.sightings import ONLY_CAPTURED
from phonesim.wire.dhcp import MessageType
from phonesim.wire.tcp_frame import SYN

INFORM, DISCOVER = MessageType.INFORM, MessageType.DISCOVER


def informed() -> list[bytes]:
    ask = request(INFORM, xid=9, asked=(43, 120), ciaddr=PHONE)
    return [*lease(), ask, reply(MessageType.ACK, xid=9, ciaddr=PHONE, destination=PHONE)]


def test_a_boot_begins_and_the_capture_ends(tmp_path: Path) -> None:
    found, reader = read(tmp_path, capture_of(informed()))
    assert (found[0].name, found[0]["mac"], found[0].phone_id) == (
        "boot_begun",
        PHONE_ID,
        PHONE_ID,
    )
    assert (found[-1].name, found[-1].place.number) == ("capture_ended", 6)
    assert str(found[-1].place) == "site.pcapng frame 6"
    assert abs(found[0].at - BEGAN - 0.01) < 1e-3
    assert (reader.packets, reader.phones, reader.notes) == (6, 1, [])


def test_a_phone_that_begins_with_dhcp_again_boots_anew(tmp_path: Path) -> None:
    again = [request(DISCOVER, xid=70), *lease(xid=71)]
    found, _ = read(tmp_path, capture_of([*informed(), *again]))
    assert [each.place.number for each in found if each.name == "boot_begun"] == [1, 7]
    assert values(found, "dhcp_no_answer") == [("DISCOVER", 1)]


def test_phones_are_told_apart(tmp_path: Path) -> None:
    other = bytes.fromhex("0004f2000002")
    frames = [*lease(), *lease(xid=8, mac=other, address="10.0.0.8")]
    frames += TcpTalk(443, client="10.0.0.8").open()[:1]
    found, reader = read(tmp_path, capture_of(frames))
    assert Counter(each.phone_id for each in found if each.name == "dhcp_lease") == {
        PHONE_ID: 1,
        "00-04-F2-00-00-02": 1,
    }
    assert reader.phones == 2


def test_a_file_that_is_cut_says_so(tmp_path: Path) -> None:
    whole = capture_of(informed())
    found, reader = read(tmp_path, whole[:-20])
    assert reader.packets == 5
    assert reader.notes == [
        "site.pcapng: the file is cut off behind packet 5, within a block: what is before was read"
    ]
    assert "option_missing" not in names(found)


def test_every_cut_of_a_capture_is_read_or_refused(tmp_path: Path) -> None:
    whole = capture_of(informed()[:3])
    for cut in range(len(whole)):
        if cut < 4:
            with pytest.raises(DecodeError, match=str(tmp_path)):
                read(tmp_path, whole[:cut])
        else:
            read(tmp_path, whole[:cut])


def test_packets_that_were_captured_in_part(tmp_path: Path) -> None:
    frames = [frame[:200] for frame in lease()] + [frame[:310] for frame in lease()]
    _, reader = read(tmp_path, capture_of(frames))
    assert "captured in part: capture without a limit of size" in reader.notes[0]


def test_datagrams_that_are_there_twice_count_once(tmp_path: Path) -> None:
    doubled = [(at / 10 + delay, frame) for at, frame in enumerate(lease()) for delay in (0, 1e-3)]
    assert names(sightings(tmp_path, *doubled)) == names(sightings(tmp_path, *lease()))
    repeated = [(0.0, lease()[0]), (4.0, lease()[0])]
    assert names(sightings(tmp_path, *repeated)).count("dhcp_sent") == 2


def test_a_link_that_is_not_read(tmp_path: Path) -> None:
    _, reader = read(tmp_path, capture_of(lease(), link_type=105))
    assert "4 packets of link type 105 (802.11) not read" in reader.notes[0]


def test_the_same_on_other_links(tmp_path: Path) -> None:
    raw = [frame[14:] for frame in lease()]
    cooked = [struct.pack("!HHH8sH", 0, 1, 6, MAC, 0x0800) + packet for packet in raw]
    wanted = names(sightings(tmp_path, *lease()))
    assert names(sightings(tmp_path, *raw, link_type=101)) == wanted
    assert names(sightings(tmp_path, *cooked, link_type=113)) == wanted


def fragments(frame: bytes, size: int) -> list[bytes]:
    """A frame's IPv4 packet in pieces."""
    ethernet, header, payload = frame[:14], bytearray(frame[14:34]), frame[34:]
    pieces = []
    for at in range(0, len(payload), size):
        part = payload[at : at + size]
        more = 0x2000 if at + size < len(payload) else 0
        header[2:4] = (20 + len(part)).to_bytes(2, "big")
        header[4:6] = b"\x12\x34"
        header[6:8] = (at // 8 | more).to_bytes(2, "big")
        pieces.append(ethernet + bytes(header) + part)
    return pieces


def test_fragments_are_put_together_or_counted(tmp_path: Path) -> None:
    *before, ack = lease()
    pieces = fragments(ack, 104)
    assert len(pieces) > 2
    found = sightings(tmp_path, *before, *reversed(pieces))
    assert values(found, "dhcp_lease")
    _, reader = read(tmp_path, capture_of([*before, *pieces[1:]]))
    assert reader.notes == ["site.pcapng: 1 incomplete fragmented datagram"]


def test_malformed_packets_are_counted(tmp_path: Path) -> None:
    broken = bytearray(lease()[1])
    broken[42] = 9  # op
    _, reader = read(tmp_path, capture_of([lease()[0], bytes(broken)]))
    assert reader.notes == ["site.pcapng: 1 malformed packet of phones"]


def test_what_is_no_capture(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="neither pcap nor pcapng"):
        read(tmp_path, b"01/05/2026 07:00:00.000|0000000000|INFO    |a log")
    with pytest.raises(UsageError, match=r"missing\.pcap: No such file"):
        list(CaptureReader(tmp_path / "missing.pcap"))
    assert not is_capture(tmp_path / "missing.pcap")
    (tmp_path / "a").write_bytes(capture_of([]))
    assert is_capture(tmp_path / "a")


def test_a_capture_of_nothing(tmp_path: Path) -> None:
    found, reader = read(tmp_path, capture_of([]))
    assert (found, reader.packets) == ([], 0)
    assert "no packet of 0 is a phone's" in reader.notes[0]


def test_every_sighting_has_the_fields_of_its_kind(tmp_path: Path) -> None:
    found, _ = read(tmp_path, capture_of(informed()))
    begun = next(each for each in found if each.name == "boot_begun")
    assert tuple(begun.values) == ONLY_CAPTURED["boot_begun"]
    assert all(each.text and each.place.file == "site.pcapng" for each in found)


def test_any_damage_of_frames_does_no_harm(tmp_path: Path) -> None:
    rng = random.Random(7)
    frames = [*informed(), *TcpTalk(5061).open(), *TcpTalk(443).say(bytes(40))]
    for _ in range(60):
        damaged = [bytearray(frame) for frame in frames]
        for frame in damaged:
            for _ in range(rng.randrange(4)):
                frame[rng.randrange(len(frame))] = rng.randrange(256)
            del frame[rng.choice([len(frame), rng.randrange(len(frame))]) :]
        read(tmp_path, capture_of(map(bytes, damaged)))


def test_addresses_of_a_phone_without_a_lease_are_learned(tmp_path: Path) -> None:
    talk = TcpTalk(5061, server="10.0.0.1", client="10.0.0.77")
    found = sightings(tmp_path, request(DISCOVER), talk.segment(SYN))
    assert names(found) == ["dhcp_sent", "registrar_connecting"]
