"""Phones on a raw interface against DHCP, DNS and SIP servers of other projects."""

from __future__ import annotations

import re

import pytest
from netlab import DHCP, DNS, DOMAIN, FE01_NAME, NO_SWITCH, OPTION_43, OPTION_120, Lab
from real_servers import (
    kamailio_contacts,
    make_certificate,
    start_bind,
    start_dnsmasq,
    start_kamailio,
    start_kea,
    start_mock_site,
)

Users = tuple[str, str]


def macs_in(output: str, marker: str) -> set[str]:
    """The MACs in the lines of a server's output that hold `marker`, as phones write them."""
    return {
        mac.replace(":", "-").upper()
        for line in output.splitlines()
        if marker in line
        for mac in re.findall(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", line.lower())
    }


@pytest.mark.interop("kea-dhcp4", "named")
def test_a_fleet_boots_against_kea_and_bind(lab: Lab, users: Users) -> None:
    start_kea(lab)
    start_bind(lab)
    start_mock_site(lab)

    status, summary, told = lab.run_fleet("--phones", "10", *NO_SWITCH, *users)

    assert summary["failures"] == {}, told
    assert (status, summary["signed_in"]) == (0, 10)
    logs = lab.device_logs()
    assert len(logs) == 10
    for mac, log in logs.items():
        assert f"Option 43 from {DHCP} hex {OPTION_43.hex()}" in log
        assert f"Option 120 from {DHCP} hex {OPTION_120.hex()}" in log
        assert f"Race won by dhcp:{DHCP}" in log
        assert f"_sipinternaltls._tcp.{DOMAIN} NOERROR from {DNS}" in log
        assert f"SRV 10 0 5061 {FE01_NAME}" in log
        assert (
            f"Signed in as sip:user{int(mac[-2:], 16):05d}@contoso.com at {FE01_NAME}:5061" in log
        )
    # Each phone had a lease of its own, under its own MAC, and gave it back.
    leased = lab.output("kea")
    assert macs_in(leased, "hwtype=1") >= set(logs)
    assert leased.count("DHCP4_LEASE_ALLOC") == 10
    assert leased.count("DHCP4_RELEASE") >= 10
    assert lab.addresses() == []


@pytest.mark.interop("dnsmasq")
def test_a_fleet_boots_against_dnsmasq(lab: Lab, users: Users) -> None:
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab)

    status, summary, told = lab.run_fleet("--phones", "10", *users)

    assert summary["failures"] == {}, told
    assert (status, summary["signed_in"]) == (0, 10)
    served = lab.output("dnsmasq")
    assert served.count("DHCPINFORM(servers0)") >= 10
    assert macs_in(served, "DHCPACK") == set(lab.device_logs())
    assert (lab.folder / "dnsmasq.leases").read_text() == ""
    assert lab.addresses() == []


@pytest.mark.interop("dnsmasq")
def test_without_option_43_the_phones_ask_dns(lab: Lab, users: Users) -> None:
    # The web services are at webpool only: the URL that is made from the Registrar's DNS
    # name leads to a host without them, as on a site that never had option 43.
    start_dnsmasq(lab, serves_dns=True, option_43=None)
    start_mock_site(lab)

    arguments = ("--phones", "3", *NO_SWITCH, *users, "--set", "fleet.timeout=30")
    status, summary, told = lab.run_fleet(*arguments)

    assert summary["failures"] == {"web-services-refused": 3}, told
    assert status == 3
    for log in lab.device_logs().values():
        assert f"Option missing in the answer of {DHCP}: 43" in log
        assert f"Web Services URL https://{FE01_NAME}:443/" in log
        assert 'Display "Unable to locate Lync Certificate Web service"' in log


@pytest.mark.interop("dnsmasq", "kamailio", "kamcmd")
def test_phones_sign_in_refresh_and_deregister_at_kamailio_with_digest_over_tls(
    lab: Lab, users: Users
) -> None:
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab, registrars=False)
    start_kamailio(lab, "s3cret", maximum_expires=8)

    fleet = lab.start_fleet(
        *("--phones", "5", "--until", "13s", *NO_SWITCH, *users),
        *("--set", "device.registration.password=s3cret"),
    )
    lab.wait_until(lambda: len(kamailio_contacts(lab)) == 5, lambda: lab.output("kamailio"))
    status, summary, told = lab.end_of(fleet)

    assert summary["failures"] == {}, told
    assert (status, summary["signed_in"], summary["registrations_lost"]) == (0, 5, 0)
    accepted = lab.output("kamailio")
    for number in range(1, 6):
        user = f"registering sip:user{number:05d}@contoso.com by tls"
        asked = re.findall(rf"{re.escape(user)} from \S+ for (\d+)", accepted)
        assert asked[:2] == ["600", "600"]  # signed in, and refreshed
        assert (asked[-1], asked.count("0")) == ("0", 1)
    assert kamailio_contacts(lab) == set()
    for log in lab.device_logs().values():
        assert "auth Digest" in log
        assert "s3cret" not in log


@pytest.mark.interop("dnsmasq", "kamailio")
def test_kamailio_refuses_a_wrong_password(lab: Lab, users: Users) -> None:
    start_dnsmasq(lab, serves_dns=True)
    start_mock_site(lab, registrars=False)
    start_kamailio(lab, "s3cret")

    status, summary, told = lab.run_fleet(
        *("--phones", "1", *NO_SWITCH, *users, "--set", "fleet.timeout=40"),
        *("--set", "device.registration.password=wrong"),
    )

    assert (status, summary["signed_in"]) == (3, 0), told
    assert "REGISTER answered 401" in next(iter(lab.device_logs().values()))


def registering(lab: Lab, transport: str, *more: str) -> tuple[str, ...]:
    """The arguments of a fleet of five that only registers, at Kamailio, until it is shut down."""
    lines = [
        "name: registering",
        "stages: [register]",
        "phones: 5",
        "until: 11s",
        f"addresses: {{first: 10.77.40.1, count: 5, prefix: 16, dns_servers: [{DNS}]}}",
        "registration:",
        f"  registrars: [{{host: {FE01_NAME}, transport: {transport}}}]",
        f"  sip_uri: sip:user{{n:05d}}@{DOMAIN}",
        "  password: s3cret",
    ]
    if transport == "tls":
        lines.append("  trust: kamailio-ca.pem")
    profile = lab.folder / "registering.yaml"
    profile.write_text("\n".join(lines) + "\n")
    return (str(profile), *more)


@pytest.mark.interop("named", "kamailio", "kamcmd", "openssl")
@pytest.mark.parametrize("transport", ["tls", "tcp"])
def test_phones_only_register_at_kamailio_refresh_and_deregister(lab: Lab, transport: str) -> None:
    make_certificate(lab.folder, "kamailio-ca")
    start_bind(lab)
    start_kamailio(lab, "s3cret", maximum_expires=8)
    users = {f"user{number:05d}" for number in range(1, 6)}

    fleet = lab.start_fleet(*registering(lab, transport))
    lab.wait_until(
        lambda: kamailio_contacts(lab) == users, lambda: f"only {kamailio_contacts(lab)}"
    )
    status, summary, told = lab.end_of(fleet)

    assert (status, summary["completed"], summary["failures"]) == (0, 5, {}), told
    assert summary["registrations_lost"] == 0
    assert summary["exchanges"].keys() == {"dns", "sip_register"}
    served = lab.output("kamailio")
    for number in range(1, 6):
        user = f"registering sip:user{number:05d}@{DOMAIN} by {transport} from 10.77.40.{number}"
        asked = re.findall(rf"{re.escape(user)} for (\d+) cseq (\d+)", served)
        assert [expires for expires, _ in asked] == ["600"] * (len(asked) - 1) + ["0"]
        assert len(asked) >= 4  # two refreshes within 11 seconds of 8 granted each
        cseqs = [int(cseq) for _, cseq in asked]
        assert cseqs == sorted(set(cseqs))
    assert kamailio_contacts(lab) == set()
    for log in lab.device_logs().values():
        assert "auth Digest" in log
        assert "s3cret" not in log
    assert lab.addresses() == []


@pytest.mark.interop("named", "kamailio", "kamcmd", "openssl")
def test_phones_that_are_due_again_leave_no_contact_behind(lab: Lab) -> None:
    make_certificate(lab.folder, "kamailio-ca")
    start_bind(lab)
    start_kamailio(lab, "s3cret")

    repeated = registering(lab, "tls", "--set", "fleet.repeat_every=3")
    status, summary, told = lab.run_fleet(*repeated)

    assert (status, summary["completed"]) == (0, 5), told
    assert summary["stages"]["register"]["count"] == 20
    served = lab.output("kamailio")
    assert len(re.findall(r"registering .* by tls .* for 600", served)) == 20
    assert len(re.findall(r"registering .* by tls .* for 0", served)) == 20
    assert kamailio_contacts(lab) == set()


@pytest.mark.interop("named", "kamailio", "openssl")
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("fleet.registration.password=wrong", "registration-unauthorized"),
        ("fleet.registration.trust=other-ca.pem", "certificate-issuer-missing"),
    ],
)
def test_a_password_or_an_authority_that_is_wrong_is_told(
    lab: Lab, wrong: str, reason: str
) -> None:
    make_certificate(lab.folder, "other-ca")
    make_certificate(lab.folder, "kamailio-ca")
    start_bind(lab)
    start_kamailio(lab, "s3cret")
    wrong = wrong.replace("other-ca.pem", str(lab.folder / "other-ca.pem"))

    status, summary, told = lab.run_fleet(
        *registering(lab, "tls", "--set", wrong, "--set", "fleet.until=signed-in")
    )

    assert (status, summary["failures"]) == (3, {reason: 5}), told
