"""Captures of phonesim's own runs tell what the phones' own logs do, in virtual time and live."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from tshark import tshark

from phonesim.cli.main import main
from phonesim.device.device_log import Dialect, LogRecord
from phonesim.errors import DecodeError
from phonesim.field.captures.capture_reader import CaptureReader
from phonesim.field.sightings import Sighting
from phonesim.profiles import DEVICE, load

DIALECT = Dialect(load(DEVICE, "polycom-cx600").log.records)
ALIKE = (
    *("dhcp_sent", "dhcp_received", "dhcp_no_answer", "dns_sent", "dns_answer"),
    *("lldp_received", "vlan_found", "vlan_option", "address_conflict"),
    *("option_43", "option_120", "option_missing", "option_warning"),
    *("web_diagnostics", "ticket_refused", "ticket_received", "certificate_received"),
    *("registrar_connected", "register_sent", "registered"),
    *("handshake_sent", "handshake_received", "deregistered", "subscribe_sent"),
)
"""Records of which a capture gives the same, values included."""
COUNTED = (
    "ntp_sent",
    "http_failed",
    "registrar_failed",
    "registrar_connecting",
    "clock_set",
    "chain_received",
)
"""Records of which a capture gives as many."""


class Run:
    """One run of a fleet: what its log and what its capture say, phone by phone."""

    def __init__(self, folder: Path, attach: str, *faults: str, phones: int = 1) -> None:
        self.capture = folder / "run.pcapng"
        arguments = ["run", "--attach", attach, "--phones", str(phones), "--out", str(folder)]
        for fault in faults:
            arguments += ["--fault", fault]
        self.status = main([*arguments, "--pcap", str(self.capture), "--seed", "7"])
        self.logged = [
            record for log in folder.glob("*/*/DSK1/logs/cpsw3g.log") for record in records(log)
        ]
        reader = CaptureReader(self.capture)
        self.captured = list(reader)
        self.notes = reader.notes

    def from_log(self, name: str) -> Counter[tuple[object, ...]]:
        return Counter(record.values for record in self.logged if record.name == name)

    def from_capture(self, name: str) -> Counter[tuple[object, ...]]:
        return Counter(tuple(each.values.values()) for each in self.captured if each.name == name)

    def sightings(self, name: str) -> list[Sighting]:
        return [each for each in self.captured if each.name == name]


def records(log: Path) -> Iterable[LogRecord]:
    for line in log.read_text().splitlines():
        try:
            yield DIALECT.parse(line).record
        except DecodeError as error:
            pytest.fail(str(error))


FAULTS = {
    "healthy": (),
    "DHCP silent": ("dhcp-silent",),
    "every other message lost": ("dhcp-every-other",),
    "INFORM silent": ("inform-silent",),
    "rogue server": ("rogue-dhcp-server",),
    "address conflict": ("address-conflict",),
    "no options": ("no-sign-in-options",),
    "option 43 cut": ("option-43-cut",),
    "option 43's port": ("option-43-numeric-port",),
    "option 120 as text": ("option-120-raw-text",),
    "option 120 malformed": ("option-120-malformed",),
    "VLAN option": ("vlan-option-malformed", "lldp-silent"),
    "DNS silent": ("dns-silent", "no-sign-in-options"),
    "DNS fails": ("dns-servfail",),
    "NTP silent": ("ntp-silent",),
    "PIN locked": ("pin-locked",),
    "web services 404": ("web-404",),
    "web services 503": ("web-503",),
    "web services down": ("web-refused",),
    "chain not downloadable": ("chain-not-downloadable",),
    "a certificate of the web server": ("web-certificate-wildcard",),
    "a certificate of the Registrar": ("registrar-certificate-expired",),
    "Registrars down": ("registrars-down",),
    "Registrar 404": ("registrar-404",),
    "Registrar 503": ("registrar-503",),
    "moved": ("users-moved", "registrar-redirects"),
}
LIVE = ("healthy", "option 43 cut", "PIN locked", "Registrars down", "web services 404")


def compare(run: Run) -> None:
    assert run.notes == []
    for name in ALIKE:
        assert run.from_capture(name) == run.from_log(name), name
    for name in COUNTED:
        assert run.from_capture(name).total() == run.from_log(name).total(), name
    for name, fields in (("registrar_failed", (0, 1)), ("http_failed", (1,))):
        told, logged = (
            Counter(tuple(values[at] for at in fields) for values in side.elements())
            for side in (run.from_capture(name), run.from_log(name))
        )
        assert told == logged, name


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_a_capture_of_the_virtual_world_tells_what_the_log_does(
    faults: tuple[str, ...], tmp_path: Path
) -> None:
    compare(Run(tmp_path, "virtual", *faults, phones=2))


@pytest.mark.parametrize("name", LIVE)
def test_a_capture_of_a_live_run_tells_what_the_log_does(name: str, tmp_path: Path) -> None:
    compare(Run(tmp_path, "loopback", *FAULTS[name], phones=2))


CERTIFICATES = {
    "expired": "certificate-expired",
    "not-yet-valid": "certificate-not-yet-valid",
    "wildcard": "certificate-wildcard",
    "wrong-name": "certificate-name-mismatch",
    "untrusted": "certificate-untrusted",
    "no-intermediate": "certificate-issuer-missing",
}


@pytest.mark.parametrize("attach", ["virtual", "loopback"])
@pytest.mark.parametrize("kind", CERTIFICATES)
def test_a_refused_certificate_is_in_the_capture(kind: str, attach: str, tmp_path: Path) -> None:
    run = Run(tmp_path, attach, f"registrar-certificate-{kind}")
    shown = run.sightings("certificate_shown")
    assert [each["server"] for each in shown] == ["127.20.0.21:5061", "127.20.0.22:5061"]
    assert {each["asked"] for each in shown} == {"fe01.contoso.com", "fe02.contoso.com"}
    assert {each["failure"] for each in run.sightings("registrar_failed")} == {CERTIFICATES[kind]}
    at = shown[0].at
    valid = shown[0]["not_before"], shown[0]["not_after"]
    assert (kind == "expired") == (int(valid[1]) < at)
    assert (kind == "not-yet-valid") == (int(valid[0]) > at)
    assert shown[0]["shown"] == (1 if kind == "no-intermediate" else 2)
    assert str(shown[0]["names"]).startswith("*.") == (kind == "wildcard")


@pytest.mark.interop("tshark")
@pytest.mark.parametrize("attach", ["virtual", "loopback"])
def test_tshark_finds_nothing_malformed_in_what_failed(attach: str, tmp_path: Path) -> None:
    faults = ("registrars-down", "registrar-certificate-expired", "web-certificate-wildcard")
    for fault in faults:
        (tmp_path / fault).mkdir()
        run = Run(tmp_path / fault, attach, fault)
        assert tshark(run.capture, "-Y", "_ws.malformed") == []
        bad = "tcp.checksum.status == Bad or ip.checksum.status == Bad"
        checks = ("-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE")
        assert tshark(run.capture, *checks, "-Y", bad) == []
        if fault != "registrars-down":
            names = tshark(
                *(run.capture, "-Y", "tls.handshake.certificate"),
                *("-T", "fields", "-e", "tls.handshake.type", "-e", "x509ce.dNSName"),
            )
            assert names
            assert all("contoso.com" in fields[1] for fields in names)
            assert tshark(run.capture, "-Y", "tls.alert_message.level == 2")
        else:
            assert len(tshark(run.capture, "-Y", "tcp.flags.reset == 1")) == 2
