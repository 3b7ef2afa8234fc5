"""Transcripts of whole runs, which read like the sequence of the sign-in reference."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

PIN = "8000014"
SEQUENCE = """DHCP DISCOVER of class CPE-OCPHONE
DHCP OFFER
DHCP REQUEST of class CPE-OCPHONE
DHCP ACK
DHCP INFORM of class MS-UC-Client
HTTP POST /CertProv/CertProvisioningService.svc, GetRootCertChains
HTTP 200 OK, GetRootCertChainsResponse
HTTP GET /CertProv/CertProvisioningService.svc/mex
HTTP 200 OK, service metadata
HTTP GET /WebTicket/WebTicketService.svc/mex
HTTP 200 OK, service metadata
HTTP POST /WebTicket/WebTicketService.svc/Pin, RequestSecurityToken
HTTP 200 OK, RequestSecurityTokenResponseCollection
HTTP POST /CertProv/CertProvisioningService.svc/WebTicket_Proof, GetAndPublishCert
HTTP 200 OK, GetAndPublishCertResponse
DNS query A fe01.contoso.com
DNS answer A fe01.contoso.com: NOERROR
SIP REGISTER
SIP 401 Unauthorized to REGISTER (offers NTLM, Kerberos, TLS-DSK)
SIP REGISTER (TLS-DSK ClientHello)
SIP 401 Unauthorized to REGISTER (TLS-DSK ServerHello, Certificate, CertificateRequest, ServerHelloDone)
SIP REGISTER (TLS-DSK Certificate, ClientKeyExchange, CertificateVerify, ChangeCipherSpec, Finished)
SIP 401 Unauthorized to REGISTER (TLS-DSK ChangeCipherSpec, Finished)
SIP REGISTER (signed by TLS-DSK)
SIP 200 OK to REGISTER (signed)
SIP SUBSCRIBE (signed by TLS-DSK)
SIP 200 OK to SUBSCRIBE (signed)
SIP SUBSCRIBE (signed by TLS-DSK, ends the subscription)
SIP REGISTER (signed by TLS-DSK, ends the binding)
SIP 200 OK to REGISTER (signed)
DHCP RELEASE""".splitlines()  # noqa: E501


@pytest.mark.parametrize("attach", ["virtual", "loopback"])
def test_a_transcript_tells_a_sign_in_message_by_message(
    phonesim: Callable, tmp_path: Path, attach: str
) -> None:
    path = tmp_path / "run.txt"
    came = phonesim(*("run", "-n", 1, "--attach", attach, "--out", tmp_path, "--transcript", path))
    assert came.status == 0, came
    assert f"Transcript: {path}" in came.out
    text = path.read_text()
    titles = iter(line.strip() for line in text.splitlines())
    assert [wanted for wanted in SEQUENCE if wanted not in titles] == []
    assert PIN not in text
    assert text.count("********") == 3  # the PIN and both halves of the ticket's key
    assert "a ticket of" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_capture_and_a_transcript_can_be_had_of_one_run(
    phonesim: Callable, tmp_path: Path
) -> None:
    text, pcap = tmp_path / "run.txt", tmp_path / "run.pcapng"
    arguments = ("run", "-n", 2, "--attach", "virtual", "--out", tmp_path)
    assert phonesim(*arguments, "--transcript", text, "--pcap", pcap).status == 0
    alone = tmp_path / "alone.pcapng"
    assert phonesim(*arguments, "--pcap", alone).status == 0
    assert pcap.read_bytes() == alone.read_bytes()
    assert "00-04-F2-00-00-02" in text.read_text()


def test_a_crowd_is_not_written_down(phonesim: Callable, tmp_path: Path) -> None:
    path = tmp_path / "run.txt"
    came = phonesim("run", "-n", 11, "--attach", "virtual", "--transcript", path)
    assert came.status == 2
    assert "--transcript: nobody reads what 11 phones say: run 10 at most" in came.err
    assert not path.exists()


def test_a_file_that_is_there_is_not_written_over(phonesim: Callable, tmp_path: Path) -> None:
    path = tmp_path / "run.txt"
    path.write_text("mine")
    came = phonesim(
        *("run", "-n", 1, "--attach", "virtual", "--out", tmp_path, "--transcript", path)
    )
    assert came.status == 2
    assert f"--transcript {path}: it exists already" in came.err
    assert path.read_text() == "mine"
