"""What tcpdump saw of fleets at real servers, read as the logs of its phones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from netlab import FE01, FE01_NAME, FE02, NO_SWITCH, OPTION_43, WEB, WEB_NAME, Lab
from real_servers import start_dnsmasq, start_mock_site

from phonesim.device.device_log import Dialect
from phonesim.field.captures.capture_reader import CaptureReader
from phonesim.field.diagnosis import diagnose
from phonesim.profiles import DEVICE, load

Users = tuple[str, str]
Told = Counter[tuple[str, tuple[object, ...]]]
PHONES = 3
DIALECT = Dialect(load(DEVICE, "polycom-cx600").log.records)
ALIKE = (
    *("dhcp_sent", "dhcp_received", "dhcp_lease", "dns_sent", "dns_answer", "ntp_sent"),
    *("option_43", "option_120", "option_missing", "option_warning", "chain_received"),
)


def from_logs(lab: Lab, name: str) -> Told:
    return Counter(
        (phone, line.record.values)
        for phone, text in lab.device_logs().items()
        for line in map(DIALECT.parse, text.splitlines())
        if line.record.name == name
    )


@pytest.mark.interop("dnsmasq", "nft", "tcpdump")
@pytest.mark.parametrize("option_43", [OPTION_43, None], ids=["well", "no option 43"])
def test_a_capture_tells_what_the_logs_do(lab: Lab, users: Users, option_43: bytes | None) -> None:
    start_dnsmasq(lab, serves_dns=True, option_43=option_43)
    start_mock_site(lab)
    seen = lab.capture("seen")
    status, _, told = lab.run_fleet("--phones", str(PHONES), *NO_SWITCH, *users)
    assert status == (0 if option_43 else 3), told
    lab.stop("seen")

    reader = CaptureReader(seen)
    found = list(reader)
    assert (reader.phones, reader.notes) == (PHONES, [])
    for name in ALIKE:
        captured = Counter(
            (each.phone_id, tuple(each.values.values())) for each in found if each.name == name
        )
        assert captured == from_logs(lab, name), name
    counts = Counter(each.name for each in found)
    shown = {(each["server"], each["asked"]) for each in found if each.name == "certificate_shown"}
    if option_43:
        assert counts["registrar_connected"] == PHONES
        assert counts["connect_failed"] == counts["address_conflict"] == 0
        assert shown == {(f"{WEB}:443", WEB_NAME), (f"{FE01}:5061", FE01_NAME)}
        assert diagnose([seen]).found == ()
    else:
        assert counts["option_missing"] == PHONES
        assert diagnose([seen]).found[0].cause.name == "option-43-missing"


@pytest.mark.interop("dnsmasq", "nft")
def test_frames_and_the_messages_in_them_are_told_once(lab: Lab, users: Users) -> None:
    """A capture that phonesim writes on the wire has what went inside TLS a second time."""
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab)
    pcap = lab.folder / "run.pcapng"
    status, _, told = lab.run_fleet("--phones", "2", "--pcap", str(pcap), *NO_SWITCH, *users)
    assert status == 0, told
    reader = CaptureReader(pcap)
    found = list(reader)
    assert (reader.phones, reader.notes) == (2, [])
    for name in (*ALIKE, "http_sent", "register_sent", "registered", "registrar_connected"):
        captured = Counter(
            (each.phone_id, tuple(each.values.values())) for each in found if each.name == name
        )
        assert captured == from_logs(lab, name), name
    assert Counter(each.name for each in found)["certificate_shown"] >= 4
    assert diagnose([pcap]).found == ()


@pytest.mark.interop("dnsmasq", "nft", "tcpdump")
def test_registrars_that_refuse_are_seen(lab: Lab, users: Users) -> None:
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab, registrars=False)
    seen = lab.capture("seen")
    status, _, _ = lab.run_fleet("--phones", str(PHONES), *NO_SWITCH, *users)
    assert status != 0
    lab.stop("seen")
    failed = {
        (each["server"], each["failure"])
        for each in CaptureReader(seen)
        if each.name == "connect_failed"
    }
    assert failed == {(f"{FE01}:5061", "refused"), (f"{FE02}:5061", "refused")}
    assert diagnose([seen]).found[0].cause.name == "registrar-down"


@pytest.mark.interop("dnsmasq", "nft", "tcpdump")
def test_a_capture_that_tcpdump_cut(lab: Lab, users: Users, tmp_path: Path) -> None:
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab)
    seen = lab.capture("seen")
    lab.run_fleet("--phones", "1", *NO_SWITCH, *users)
    lab.stop("seen")
    octets = seen.read_bytes()
    for cut in (len(octets) // 2, len(octets) - 7):
        part = tmp_path / "part.pcap"
        part.write_bytes(octets[:cut])
        reader = CaptureReader(part)
        assert "dhcp_sent" in {each.name for each in reader}
        assert "the file is cut off" in reader.notes[0]
