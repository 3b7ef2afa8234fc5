"""What it costs to read a large capture: 200 MB of other hosts' traffic, with phones in between.

The phones are those of a virtual run; half of the other traffic is large TCP segments, the rest
is what fills a capture with packets: acknowledgements, voice, names, ARP, DHCP of other hosts.
Phones have TLS connections, too, of which every segment belongs to a phone.

ru_maxrss is that of a process of its own, which only reads.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from phonesim.field.captures.capture_reader import CaptureReader
from phonesim.wire.dhcp import DhcpMessage, MessageType, encode_dhcp
from phonesim.wire.dns import DnsQuery, encode_query
from phonesim.wire.frame import ARP_REQUEST, ArpFrame, UdpFrame, encode_arp_frame, encode_udp_frame
from phonesim.wire.pcap import PacketReader
from phonesim.wire.pcapng import ETHERNET
from phonesim.wire.tcp_frame import ACK, TcpFrame, encode_tcp_frame

SIZE = 200 * 1024 * 1024
PHONES = 200
_READ = "--read"


def main() -> None:
    if sys.argv[1:2] == [_READ]:
        read(Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder) / "mixed.pcap"
        packets = write(capture, phone_frames(Path(folder)))
        print(f"{capture.stat().st_size / 1e6:.0f} MB, {packets} packets, {PHONES} phones")
        subprocess.run([sys.executable, __file__, _READ, str(capture)], check=True)


def read(capture: Path) -> None:
    began = time.perf_counter()
    reader = CaptureReader(capture)
    sightings = sum(1 for _ in reader)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"read in {seconds:.1f} s ({reader.packets / seconds:.0f} packets/s), {peak:.0f} MB at "
        f"most: {sightings} sightings of {reader.phones} phones"
    )
    for note in reader.notes:
        print(note)


def phone_frames(folder: Path) -> list[bytes]:
    """Frames of phones that sign in, as an interface would show them."""
    capture = folder / "phones.pcapng"
    command = [
        *(sys.executable, "-m", "phonesim", "run", "--attach", "virtual"),
        *("--phones", str(PHONES), "--out", str(folder / "runs"), "--pcap", str(capture)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    packets = PacketReader([capture.read_bytes()])
    return [packet.octets for packet in packets if packet.link_type == ETHERNET]


def write(path: Path, phones: list[bytes]) -> int:
    """Write the capture; returns how many packets it has."""
    rng = random.Random(7)
    others = list(other_frames(rng))
    weights = [weight for weight, _ in others]
    kinds = [frames for _, frames in others]
    count = size = 0
    waiting = iter(phones)
    with path.open("wb") as file:
        file.write(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"))
        while size < SIZE:
            frames = [rng.choice(kinds[at]) for at in rng.choices(range(len(kinds)), weights, k=64)]
            frames.append(next(waiting, frames[0]))
            for frame in frames:
                count += 1
                stamp = (1_764_000_000 + count // 20_000).to_bytes(4, "little")
                stamp += (count % 20_000 * 50).to_bytes(4, "little")
                octets = len(frame).to_bytes(4, "little")
                file.write(stamp + octets + octets + frame)
                size += 16 + len(frame)
    return count


def other_frames(rng: random.Random) -> Iterator[tuple[int, list[bytes]]]:
    """Kinds of traffic, each with its share of the packets."""
    hosts = [f"10.9.{n // 250}.{n % 250 + 1}" for n in range(500)]
    yield 30, [tcp(rng, hosts, 1460) for _ in range(300)]
    yield 20, [tcp(rng, hosts, 0) for _ in range(300)]
    yield 5, [tcp(rng, [f"127.20.16.{n}" for n in range(1, PHONES)], 700) for _ in range(300)]
    yield 30, [udp(rng, hosts, 16384, 16386, rng.randbytes(172)) for _ in range(300)]
    yield (
        8,
        [
            udp(
                *(rng, hosts, 50000, 53),
                encode_query(DnsQuery(id=n, qname=f"host{n}.example.com", qtype="A")),
            )
            for n in range(300)
        ],
    )
    yield 4, [arp(rng, hosts) for _ in range(300)]
    yield 3, [dhcp(rng) for _ in range(300)]


def tcp(rng: random.Random, hosts: list[str], size: int) -> bytes:
    frame = TcpFrame(
        source_mac=b"\x02\0\0\0\0\1",
        destination_mac=b"\x02\0\0\0\0\2",
        source=rng.choice(hosts),
        destination="10.9.9.9",
        source_port=rng.randrange(49152, 65536),
        destination_port=443,
        flags=ACK,
        sequence=rng.getrandbits(32),
    )
    octets = bytearray(encode_tcp_frame(frame)) + b"\x17\x03\x03\x05\xb0" * (size // 5)
    octets[16:18] = (len(octets) - 14).to_bytes(2, "big")
    return bytes(octets)


def udp(
    rng: random.Random, hosts: list[str], source: int, destination: int, payload: bytes
) -> bytes:
    return encode_udp_frame(
        UdpFrame(
            source_mac=b"\x02\0\0\0\0\1",
            destination_mac=b"\x02\0\0\0\0\2",
            source=rng.choice(hosts),
            destination=rng.choice(hosts),
            source_port=source,
            destination_port=destination,
            payload=payload,
        )
    )


def arp(rng: random.Random, hosts: list[str]) -> bytes:
    return encode_arp_frame(
        ArpFrame(
            operation=ARP_REQUEST,
            source_mac=b"\x02\0\0\0\0\1",
            sender_mac=b"\x02\0\0\0\0\1",
            sender_ip=rng.choice(hosts),
            target_mac=bytes(6),
            target_ip=rng.choice(hosts),
            destination_mac=b"\xff" * 6,
        )
    )


def dhcp(rng: random.Random) -> bytes:
    message = DhcpMessage(
        message_type=MessageType.DISCOVER,
        xid=rng.getrandbits(32),
        chaddr=b"\x02\x11" + rng.randbytes(4),
        options={53: b"\1", 60: b"MSFT 5.0", 55: bytes(range(1, 20))},
    )
    return udp(rng, ["0.0.0.0"], 68, 67, encode_dhcp(message))


if __name__ == "__main__":
    main()
