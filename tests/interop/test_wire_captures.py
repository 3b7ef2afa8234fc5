"""Captures of phones on a raw interface, as tshark reads them."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from netlab import NO_SWITCH, Lab
from real_servers import start_dnsmasq, start_mock_site
from tshark import fields, tshark

from phonesim.profiles import SITE, load

Users = tuple[str, str]
PHONES = 5


def protocols_of_phones(capture: Path, interface: str) -> dict[str, Counter[str]]:
    """How many packets of each protocol an interface has of each phone."""
    seen: dict[str, Counter[str]] = {}
    for phone, protocols in fields(
        capture, "frame.comment", "frame.protocols", where=f"frame.interface_name == {interface}"
    ):
        seen.setdefault(phone, Counter()).update(set(protocols.split(":")))
    return seen


@pytest.mark.interop("dnsmasq", "nft", "tshark")
@pytest.mark.parametrize("own_mac", ["full", "dhcp-only"])
def test_every_frame_of_a_boot_is_captured_with_its_phone(
    lab: Lab, users: Users, own_mac: str
) -> None:
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab)
    pcap, transcript = lab.folder / "run.pcapng", lab.folder / "run.txt"
    arguments = ("--phones", str(PHONES), "--own-mac", own_mac, "--pcap", str(pcap))
    arguments += ("--transcript", str(transcript))
    status, summary, told = lab.run_fleet(*arguments, *NO_SWITCH, *users)
    assert (status, summary["signed_in"]) == (0, PHONES), told
    assert not [note for note in summary["notes"] if "capture" in note or "--pcap" in note]

    assert tshark(pcap, "-Y", "_ws.malformed") == []
    phones = set(lab.device_logs())
    frames = protocols_of_phones(pcap, "phones0")
    messages = protocols_of_phones(pcap, "messages")
    assert set(messages) == phones
    assert {phone for phone in frames if phone} == phones  # ARP may be nobody's
    for phone in phones:
        # DHCP: DISCOVER, OFFER, REQUEST, ACK, INFORM, ACK, RELEASE
        at_least = {"dhcp": 7, "arp": 4, "dns": 8, "ntp": 2, "tcp": 30, "tls": 10, "http": 2}
        lacking = {key for key, least in at_least.items() if frames[phone][key] < least}
        assert lacking == set(), frames[phone]
        assert messages[phone]["http"] == 10
        assert messages[phone]["sip"] == 14  # four REGISTERs, SUBSCRIBE, and both at the end
    text = transcript.read_text()
    for title in ("DHCP DISCOVER", "DHCP INFORM", "HTTP 200 OK, GetAndPublishCertResponse"):
        assert text.count(f"      {title}") >= PHONES
    assert text.count("SIP REGISTER (TLS-DSK ClientHello)") == PHONES
    # Nothing is missing in the middle of a connection, and every one has both its ends.
    lost = "tcp.analysis.lost_segment or tcp.analysis.ack_lost_segment"
    assert fields(pcap, "frame.number", where=lost) == []
    opened = fields(pcap, "tcp.stream", where="tcp.flags.syn == 1 and tcp.flags.ack == 0")
    over = "tcp.flags.fin == 1 or tcp.flags.reset == 1"
    ended = {stream for (stream,) in fields(pcap, "tcp.stream", where=over)}
    assert {stream for (stream,) in opened} == ended
    if own_mac == "full":
        for phone, source, target in fields(pcap, "frame.comment", "eth.src", "eth.dst"):
            macs = {mac.replace(":", "-").upper() for mac in (source, target)}
            assert not phone or not source or phone in macs


@pytest.mark.interop("nft", "tshark")
def test_a_site_on_the_same_interface_is_captured_where_the_kernel_keeps_it(lab: Lab) -> None:
    pcap, site = lab.folder / "run.pcapng", lab.folder / "here.yaml"
    text = load(SITE, "contoso").model_dump_json().replace("127.20.", "10.77.")
    site.write_text(text.replace('"contoso"', '"here"', 1))
    arguments = ("--phones", "2", "--site", str(site), "--pcap", str(pcap))
    status, summary, told = lab.run_fleet(*arguments, *NO_SWITCH)
    assert (status, summary["signed_in"]) == (0, 2), told
    assert tshark(pcap, "-Y", "_ws.malformed") == []
    on_interface = protocols_of_phones(pcap, "phones0")
    on_loopback = protocols_of_phones(pcap, "lo")
    for phone in lab.device_logs():
        assert on_interface[phone]["dhcp"] >= 6
        assert on_interface[phone]["tcp"] == 0
        assert on_loopback[phone]["dns"] >= 8
        assert on_loopback[phone]["ntp"] == 2
        assert on_loopback[phone]["tls"] >= 10


@pytest.mark.interop("dnsmasq", "nft", "tshark")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_run_that_is_ended_leaves_a_whole_capture(
    lab: Lab, users: Users, number: signal.Signals
) -> None:
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab)
    pcap = lab.folder / "run.pcapng"
    fleet = lab.start_fleet(
        *("--phones", str(PHONES), "--until", "1h", "--pcap", str(pcap)), *NO_SWITCH, *users
    )
    lab.wait_for_addresses(PHONES)
    while pcap.stat().st_size < 50_000:
        time.sleep(0.05)
    os.killpg(fleet.pid, number)
    fleet.communicate(timeout=30)
    assert tshark(pcap, "-Y", "_ws.malformed") == []
    kinds = Counter(kind for (kind,) in fields(pcap, "dhcp.option.dhcp", where="dhcp"))
    assert kinds["1"] == PHONES
    assert kinds["7"] == (PHONES if number is signal.SIGINT else 0)
