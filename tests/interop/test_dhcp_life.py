"""The whole life of a lease on the wire, as the servers of other projects see it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from lease_servers import Watch, logged, start_dnsmasq_leases, start_leases
from netlab import DHCP, DNS, Fleet, Lab

pytestmark = [
    pytest.mark.interop("tcpdump", "tshark"),
    pytest.mark.usefixtures("well_formed"),
]

PHONE = "00-04-F2-00-00-01"
ADDRESS, NEXT = "10.77.16.1", "10.77.16.2"
EVERYBODY = "FF-FF-FF-FF-FF-FF"
STRANGER = "02-00-00-00-00-AA"


@pytest.fixture
def watch(lab: Lab) -> Watch:
    return Watch(lab)


class Phones:
    """A fleet of phones that lease an address and stay, until the test ends them."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._fleet: Fleet | None = None

    def start(self, count: int = 1, **device: Any) -> None:
        """Start them; `device` holds values of the device profile's `dhcp`."""
        settings = [f"--set=device.dhcp.{name}={value}" for name, value in device.items()]
        settings += ["--set=device.dhcp.retransmit_jitter=0"]
        arguments = ("dhcp-load", "--phones", str(count), "--until", "1h", *settings)
        self._fleet = self._lab.start_fleet(*arguments)

    def stop(self) -> dict[str, Any]:
        """Press Ctrl-C; the summary."""
        assert self._fleet is not None
        fleet, self._fleet = self._fleet, None
        status, summary, told = self._lab.interrupt_fleet(fleet)
        assert status == 4, told
        return summary


@pytest.fixture
def phones(lab: Lab) -> Phones:
    return Phones(lab)


def wait_for_answers(lab: Lab, expected: set[tuple[str, str]], *addresses: str) -> None:
    """Wait until the servers' side finds of these addresses just the expected, with their MACs."""
    lab.wait_until(
        lambda: lab.answered_for(*addresses) == expected,
        lambda: f"{lab.answered_for(*addresses)}, not {expected}",
    )


def wait_for_log(lab: Lab, *texts: str) -> None:
    lab.wait_until(logged(lab, *texts), lambda: f"{texts}: {lab.device_logs()}")


@pytest.mark.interop("kea-dhcp4")
@pytest.mark.parametrize("is_direct", [False, True], ids=["broadcast", "unicast"])
def test_a_lease_is_renewed_at_t1_and_released_in_the_end(
    lab: Lab, watch: Watch, phones: Phones, is_direct: bool
) -> None:
    start_leases(lab, times=(1, 5, 20))
    phones.start(direct_renewal=is_direct)

    renewals = watch.wait_for("REQUEST", ciaddr=ADDRESS, count=2)
    acks = watch.wait_for("ACK", count=3)
    wait_for_answers(lab, {(ADDRESS, PHONE)}, ADDRESS)
    phones.stop()

    for renewal in renewals:
        # RFC 2131 table 5: RENEWING has the address in ciaddr, and neither option.
        assert (renewal["requested"], renewal["server"]) == (None, None)
        assert (renewal["by"], renewal["source"]) == (PHONE, ADDRESS)
        to = (lab.mac_of_servers(), DHCP) if is_direct else (EVERYBODY, "255.255.255.255")
        assert (renewal["to_mac"], renewal["to"]) == to
        assert renewal["secs"] == 0
    assert len({ack["xid"] for ack in acks}) == len(acks)
    assert {(ack["yiaddr"], ack["phone"]) for ack in acks} == {(ADDRESS, PHONE)}
    (log,) = lab.device_logs().values()
    assert log.count("DHCP state RENEWING -> BOUND") >= 2
    (release,) = watch.frames("RELEASE")
    assert (release["by"], release["source"], release["ciaddr"]) == (PHONE, ADDRESS, ADDRESS)
    assert (release["to_mac"], release["to"]) == (lab.mac_of_servers(), DHCP)
    assert release["server"] == DHCP
    assert "DHCP4_RELEASE " in lab.output("kea")
    assert lab.answered_for(ADDRESS) == set()
    assert lab.addresses() == []


@pytest.mark.interop("kea-dhcp4")
@pytest.mark.parametrize("server", [DHCP, DNS], ids=["the same again", "another"])
def test_a_lease_is_rebound_when_its_server_is_gone_at_t1(
    lab: Lab, watch: Watch, phones: Phones, server: str
) -> None:
    start_leases(lab, times=(1, 4, 30), persists=True)
    phones.start(direct_renewal=True)
    watch.wait_for("ACK")
    lab.stop("kea")
    watch.wait_for("REQUEST", ciaddr=ADDRESS)
    start_leases(lab, "kea2", address=server, times=(1, 4, 30), persists=True)

    (rebinding,) = watch.wait_for("REQUEST", ciaddr=ADDRESS, to="255.255.255.255")
    ack = watch.wait_for("ACK", xid=rebinding["xid"])[0]
    wait_for_log(lab, "DHCP state RENEWING -> REBINDING", "DHCP state REBINDING -> BOUND")
    phones.stop()

    assert (rebinding["requested"], rebinding["server"]) == (None, None)
    assert (rebinding["by"], rebinding["to_mac"], rebinding["source"]) == (
        *(PHONE, EVERYBODY),
        ADDRESS,
    )
    assert (ack["server"], ack["yiaddr"]) == (server, ADDRESS)
    # From now on it is the lease of the server that answered.
    assert watch.frames("RELEASE")[0]["to"] == server


@pytest.mark.interop("dnsmasq")
def test_a_nak_ends_the_lease_and_the_phone_begins_anew(
    lab: Lab, watch: Watch, phones: Phones
) -> None:
    start_dnsmasq_leases(lab, "before", pool="10.77.16.1-10.77.16.9", t1=5)
    phones.start()
    (old,) = {ack["yiaddr"] for ack in watch.wait_for("ACK")}
    lab.stop("before")
    start_dnsmasq_leases(lab, "after", pool="10.77.17.1-10.77.17.9", t1=60)

    (nak,) = watch.wait_for("NAK")
    new = watch.wait_for("ACK", count=2)[-1]["yiaddr"]
    wait_for_answers(lab, {(new, PHONE)}, old, new)
    phones.stop()

    assert new.startswith("10.77.17.")
    assert nak["server"] == DHCP
    assert f"DHCPNAK(servers0) {old} {PHONE.replace('-', ':').lower()}" in lab.output("after")
    (log,) = lab.device_logs().values()
    assert f'DHCP lease {old} lost: "NAK from {DHCP}"' in log
    assert (lab.folder / "after.leases").read_text() == ""


@pytest.mark.interop("kea-dhcp4")
def test_a_lease_that_nobody_extends_expires_and_its_address_is_given_up(
    lab: Lab, watch: Watch, phones: Phones
) -> None:
    start_leases(lab, times=(1, 2, 4))
    phones.start()
    wait_for_answers(lab, {(ADDRESS, PHONE)}, ADDRESS)
    lab.stop("kea")

    wait_for_log(lab, f'DHCP lease {ADDRESS} lost: "expired"')
    wait_for_answers(lab, set(), ADDRESS)
    summary = phones.stop()

    # On a slow machine Kea has answered a renewal before it was stopped.
    *extended, renewing, rebinding = watch.frames("REQUEST", ciaddr=ADDRESS)
    assert renewing["xid"] != rebinding["xid"]
    assert len(watch.frames("DISCOVER")) >= 2
    assert watch.frames("RELEASE") == []  # there is nothing left to release
    assert summary["exchanges"]["dhcp_request"]["answered"] == 1 + len(extended)


@pytest.mark.interop("kea-dhcp4")
def test_an_address_that_a_host_has_is_declined(lab: Lab, watch: Watch, phones: Phones) -> None:
    lab.add_address(ADDRESS)  # the first that Kea will offer
    start_leases(lab, pool=f"{ADDRESS}-{NEXT}")
    phones.start(decline_wait=1)

    wait_for_answers(lab, {(NEXT, PHONE)}, ADDRESS, NEXT)
    phones.stop()

    (decline,) = watch.frames("DECLINE")
    assert (decline["by"], decline["requested"], decline["server"]) == (PHONE, ADDRESS, DHCP)
    assert (decline["source"], decline["ciaddr"]) == ("0.0.0.0", "0.0.0.0")
    probes = watch.frames("ARP-REQUEST", target=ADDRESS, source="0.0.0.0", by=PHONE)
    assert probes
    (answer, *_) = watch.frames("ARP-REPLY", source=ADDRESS)
    assert answer["mac"] == lab.mac_of_servers()
    (log,) = lab.device_logs().values()
    assert f"Address {ADDRESS} is in use by {lab.mac_of_servers()}" in log
    assert "DHCP4_DECLINE_LEASE" in lab.output("kea")
    assert ADDRESS in lab.output("kea").partition("DHCP4_DECLINE_LEASE")[2]


@pytest.mark.interop("kea-dhcp4")
def test_a_claimed_address_is_defended_once_and_then_declined(
    lab: Lab, watch: Watch, phones: Phones
) -> None:
    start_leases(lab, times=(300, 400, 600))
    phones.start(decline_wait=1)
    announced = {"target": ADDRESS, "source": ADDRESS, "by": PHONE, "mac": PHONE}
    watch.wait_for("ARP-REQUEST", count=2, **announced)

    claim(lab, ADDRESS)
    watch.wait_for("ARP-REQUEST", count=3, **announced)
    assert watch.frames("DECLINE") == []
    claim(lab, ADDRESS)
    (decline,) = watch.wait_for("DECLINE")
    wait_for_answers(lab, {(NEXT, PHONE)}, ADDRESS, NEXT)
    phones.stop()

    assert (decline["requested"], decline["server"]) == (ADDRESS, DHCP)
    assert "DHCP4_DECLINE_LEASE" in lab.output("kea")
    (log,) = lab.device_logs().values()
    assert f"Address {ADDRESS} defended" in log
    assert f'DHCP lease {ADDRESS} lost: "conflict with {STRANGER}"' in log


def claim(lab: Lab, address: str) -> None:
    script = Path(__file__).with_name("claim_address.py")
    lab.serve("claim", [sys.executable, str(script), "servers0", address])


@pytest.mark.interop("kea-dhcp4")
def test_a_phone_that_reboots_asks_for_its_old_address(lab: Lab, watch: Watch) -> None:
    start_leases(lab, times=(300, 400, 600))
    status, summary, told = lab.run_fleet("dhcp-load", "--phones", "2", "--boots", "2")
    assert (status, summary["completed"]) == (0, 2), told
    assert len(watch.frames("DISCOVER")) == 2
    first, second = (watch.frames("REQUEST")[n::2] for n in (0, 1))
    reboots = [frame for frame in watch.frames("REQUEST") if frame["server"] is None]
    assert len(first) == len(second) == len(reboots) == 2
    for reboot in reboots:
        # RFC 2131 table 5: INIT-REBOOT has the address as an option, and no other trace of it.
        assert (reboot["ciaddr"], reboot["source"]) == ("0.0.0.0", "0.0.0.0")
    acks = watch.frames("ACK")
    for phone in {ack["phone"] for ack in acks}:
        addresses = [ack["yiaddr"] for ack in acks if ack["phone"] == phone]
        assert len(addresses) == 2
        assert len(set(addresses)) == 1
    assert len(watch.frames("RELEASE")) == 2


@pytest.mark.interop("kea-dhcp4")
@pytest.mark.parametrize("keeps", [True, False])
def test_a_reboot_without_a_server_goes_on_as_the_profile_says(
    lab: Lab, watch: Watch, keeps: bool
) -> None:
    start_leases(lab, times=(300, 400, 600))
    fleet = lab.start_fleet(
        *("dhcp-load", "--phones", "1", "--boots", "2"),
        *(f"--set=device.dhcp.reboot_keeps_lease={str(keeps).lower()}",),
        *("--set=device.dhcp.retransmit_delays=[1, 1]", "--set=device.dhcp.retransmit_jitter=0"),
    )
    watch.wait_for("ACK")
    lab.stop("kea")
    status, summary, told = lab.end_of_fleet(fleet)

    (log,) = lab.device_logs().values()
    assert len(watch.frames("REQUEST")) == 3  # one, and two that nobody answered
    if keeps:
        assert (status, summary["completed"]) == (0, 1), told
        assert f"DHCP lease {ADDRESS} used unconfirmed for" in log
        assert watch.frames("RELEASE")[0]["ciaddr"] == ADDRESS
    else:
        assert (status, summary["failures"]) == (3, {"no-lease": 1}), told
        assert len(watch.frames("DISCOVER")) == 3


@pytest.mark.interop("kea-dhcp4")
def test_of_two_servers_the_first_is_taken_and_the_other_withdraws(lab: Lab, watch: Watch) -> None:
    start_leases(lab, "a", address=DHCP, pool="10.77.16.1-10.77.16.99", times=(300, 400, 600))
    start_leases(lab, "b", address=DNS, pool="10.77.17.1-10.77.17.99", times=(300, 400, 600))

    status, summary, told = lab.run_fleet("dhcp-load", "--phones", "10", "--rate", "20")

    assert (status, summary["completed"]) == (0, 10), told
    offers = watch.frames("OFFER")
    requests = watch.frames("REQUEST")
    assert (len(offers), len(requests)) == (20, 10)
    for request in requests:
        offered = {o["server"]: o["yiaddr"] for o in offers if o["phone"] == request["phone"]}
        assert request["requested"] == offered.pop(request["server"])
        (other,) = offered
        _, first, second = lab.device_logs()[request["phone"]].split("DHCP OFFER")
        assert f" xid 0x{request['xid']:08x} server {request['server']} from " in first
        assert f" from {other} ignored" in second
    assert {ack["server"] for ack in watch.frames("ACK")} == {r["server"] for r in requests}
    for name, server in (("a", DHCP), ("b", DNS)):
        taken = sum(request["server"] == server for request in requests)
        assert lab.output(name).count("DHCP4_LEASE_ALLOC") == taken
        assert lab.output(name).count("DHCP4_RELEASE ") == taken


@pytest.mark.interop("kea-dhcp4")
@pytest.mark.parametrize("is_set", [False, True])
def test_the_broadcast_flag_is_the_profiles(lab: Lab, watch: Watch, is_set: bool) -> None:
    start_leases(lab)
    asked = f"--set=device.dhcp.broadcast_flag={str(is_set).lower()}"
    status, summary, told = lab.run_fleet("dhcp-load", "--phones", "1", asked)
    assert (status, summary["completed"]) == (0, 1), told
    for sent in watch.frames("DISCOVER", "REQUEST"):
        assert sent["flags"] == (0x8000 if is_set else 0)
        assert sent["client_id"] == "01" + PHONE.replace("-", "").lower()
    for answer in watch.frames("OFFER", "ACK"):
        # Kea sends to the phone's MAC either way.
        assert answer["to"] == ("255.255.255.255" if is_set else ADDRESS)


@pytest.mark.interop("kea-dhcp4")
@pytest.mark.parametrize(
    ("secs", "expected"), [("elapsed", [0, 1, 2]), ("byte-swapped", [0, 256, 512])]
)
def test_secs_rises_until_a_server_answers(
    lab: Lab, watch: Watch, phones: Phones, secs: str, expected: list[int]
) -> None:
    phones.start(secs=secs, retransmit_delays="[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]")
    assert [frame["secs"] for frame in watch.wait_for("DISCOVER", count=3)[:3]] == expected
    start_leases(lab)
    watch.wait_for("ACK")
    phones.stop()
    # RFC 2131 section 3.1: the REQUEST has the secs of the DISCOVER that was answered.
    assert watch.frames("REQUEST")[0]["secs"] == watch.frames("DISCOVER")[-1]["secs"]
    assert "DHCP4_LEASE_ALLOC" in lab.output("kea")


@pytest.mark.interop("ip")
def test_a_load_that_nobody_answers_ends_by_itself(lab: Lab, watch: Watch) -> None:
    status, summary, told = lab.run_fleet(
        *("dhcp-load", "--phones", "1000", "--rate", "20"),
        "--set=fleet.limits.unanswered_window=5",
        "--set=device.dhcp.retransmit_delays=[0.5, 600]",  # no exchange ends before the run does
        "--set=device.dhcp.retransmit_jitter=0",
    )
    assert (status, summary["valid"]) == (4, False), told
    assert any("limits.unanswered_share" in note for note in summary["notes"])
    assert len(watch.frames("DISCOVER")) < 1000
